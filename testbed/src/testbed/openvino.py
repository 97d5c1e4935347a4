"""ONNX Runtime with the OpenVINO execution provider, in a folder that comes before onnxruntime's on the path.

`python -m testbed.openvino ARGUMENT…` installs it if it is missing, and runs Python with the arguments on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from testbed.builds import digest_of
from testbed.errors import CommandFailedError, MachineUnfitError, TestbedError
from testbed.layout import Layout
from testbed.locks import holding
from testbed.processes import run
from testbed.progress import Progress, print_line, step

ROOT: Final = Path(__file__).resolve().parents[3]
PROVIDERS: Final = "OpenVINO,CPU"
_INSTALLING_SECONDS: Final = 300.0


def install(layout: Layout, progress: Progress = print_line) -> Path:
    """Returns the package's folder in the cache, installed if it is missing or the lock changed.

    Raises MachineUnfitError where it cannot be installed: it has wheels for x86_64 alone.
    """
    lock = layout.sources / "requirements" / "openvino.lock"
    python = f"{sys.implementation.cache_tag}-{platform.machine()}"
    folder = layout.cache / "openvino" / digest_of([python], [lock], layout.sources)
    with holding(layout.cache / "openvino.lock", _INSTALLING_SECONDS):
        if not folder.exists():
            with step(progress, "onnxruntime-openvino", announce=True):
                _install(layout, lock, folder)
    return folder


def _install(layout: Layout, lock: Path, folder: Path) -> None:
    shutil.rmtree(folder.parent, ignore_errors=True)
    unfinished = folder.with_name(".unfinished")
    uv = [str(layout.cache / "uv" / "bin" / "uv"), "pip", "install", "--quiet", "--no-deps"]
    argv = [*uv, "--python", sys.executable, "--target", str(unfinished), "--require-hashes", "-r", str(lock)]
    try:
        run(argv)
    except CommandFailedError as error:
        raise MachineUnfitError(
            f"onnxruntime-openvino cannot be installed for Python {platform.python_version()} on "
            f"{platform.machine()}: {error}"
        ) from None
    unfinished.rename(folder)


def environment(folder: Path, before: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which Python finds the package first, and the runtime prefers OpenVINO."""
    paths = [str(folder), *filter(None, [before.get("PYTHONPATH")])]
    return {**before, "PYTHONPATH": os.pathsep.join(paths), "EDGE_EXECUTION_PROVIDERS": PROVIDERS}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status of Python; 1 with a message if the package cannot be installed."""
    try:
        folder = install(Layout.of_checkout(ROOT))
    except TestbedError as error:
        print(error, file=sys.stderr)
        return 1
    arguments = sys.argv[1:] if argv is None else list(argv)
    return subprocess.call([sys.executable, *arguments], env=environment(folder, os.environ))


if __name__ == "__main__":
    raise SystemExit(main())
