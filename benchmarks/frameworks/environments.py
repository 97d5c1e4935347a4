"""Environments that export models, in the cache: Keras from PyPI, PyTorch as Debian builds it for CPUs.

PyPI's PyTorch for Linux needs the CUDA libraries even to be imported: 5.3 GB. Debian's is extracted with its
Python and its libraries, 1 GB, and started by its own loader, so that neither root nor a chroot is needed.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.builds import digest_of, extract_libraries
from testbed.layout import Layout

ROOT: Final = Path(__file__).resolve().parents[2]
SUITE: Final = "trixie"
PACKAGES: Final = ("python3-torch", "python3-onnx")
_BESIDE: Final = ("", "openblas-pthread", "blas", "lapack")
"""Folders of libraries below that of the machine: Debian's alternatives are not set up."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python that has a framework: its command line and its variables."""

    argv: Sequence[str]
    variables: Mapping[str, str]

    def run(self, script: Path, folder: Path) -> None:
        """Runs a script in a folder. Raises CalledProcessError."""
        subprocess.run(
            [*self.argv, "-W", "ignore", str(script)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": "", **self.variables},
            check=True,
            stdout=sys.stderr,
        )


def keras() -> Environment:
    """TensorFlow for CPUs and Keras, by requirements/keras.lock."""
    layout = Layout.of_checkout(ROOT)
    lock = ROOT / "requirements" / "keras.lock"
    folder = _kept(layout, "keras", digest_of([sys.implementation.cache_tag or ""], [lock], ROOT))
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        uv = str(layout.cache / "uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        into = ["--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)]
        subprocess.run([uv, "pip", "install", *into], check=True)
        (folder / "done").touch()
    return Environment([str(python)], {})


def pytorch() -> Environment:
    """Debian's PyTorch. Raises ImageUnavailableError where mmdebstrap cannot extract it."""
    layout = Layout.of_checkout(ROOT)
    folder = _kept(layout, "pytorch", digest_of([SUITE, *PACKAGES, platform.machine()], [], ROOT))
    if not (folder / "root").exists():
        folder.mkdir(parents=True, exist_ok=True)
        extract_libraries(SUITE, PACKAGES, folder / "root")
    system = folder / "root" / "usr"
    libraries = system / "lib" / f"{platform.machine()}-linux-gnu"
    (loader,) = libraries.glob("ld-linux-*.so.*")
    (python,) = (each for each in (system / "bin").glob("python3.*") if each.suffix.lstrip(".").isdigit())
    path = os.pathsep.join(str(each) for each in (*(libraries / name for name in _BESIDE), system / "lib"))
    argv = [str(loader), "--library-path", path, str(python)]
    return Environment(argv, {"PYTHONHOME": str(system), "PYTHONNOUSERSITE": "1"})


def _kept(layout: Layout, name: str, digest: str) -> Path:
    """The folder of an environment; those of other locks are removed."""
    folder = layout.cache / "frameworks" / f"{name}-{digest}"
    for other in folder.parent.glob(f"{name}-*"):
        if other != folder:
            shutil.rmtree(other)
    return folder
