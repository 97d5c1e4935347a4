"""Tabular models, exported in an environment of their own, which is kept for the next time."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "requirements" / "exporters.lock"
SCRIPT: Final = Path(__file__).with_name("exporters.py")
_UV: Final = str(ROOT / ".cache" / "uv" / "bin" / "uv")


def export(folder: Path) -> Mapping[str, Path]:
    """Returns the exported files by name; exports them if the script or its lock changed."""
    wanted = LOCK.read_text() + SCRIPT.read_text()
    done = folder / ".exported"
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "environment" / "bin" / "python"
        subprocess.run(
            [_UV, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True
        )
        into = ["--quiet", "--python", str(python), "--require-hashes", "-r", str(LOCK)]
        subprocess.run([_UV, "pip", "install", *into], check=True)
        subprocess.run([str(python), "-W", "ignore", str(SCRIPT), str(folder)], check=True)
        done.write_text(wanted)
    return {path.stem: path for path in folder.glob("*.onnx")}
