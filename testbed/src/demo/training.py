"""The trained model of the example, made once and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from demo.errors import StepFailed

SCRIPT = Path("examples/01-digits/train.py")
MADE_WITH = ("jax", "jaxlib", "numpy", "onnx", "onnxruntime", "scikit-learn")


@dataclass(frozen=True)
class TrainedModel:
    """Where the files of a training run lie."""

    folder: Path

    @property
    def onnx(self) -> Path:
        return self.folder / "digits.onnx"

    @property
    def held_out(self) -> Path:
        return self.folder / "heldout.npz"

    @property
    def exits(self) -> Path:
        return self.folder / "digits.json"

    def complete(self) -> bool:
        return all(path.is_file() for path in (self.onnx, self.held_out, self.exits))


def key(script: bytes, versions: Mapping[str, str]) -> str:
    """Names a training run by what decides its outcome: the script and the libraries' versions."""
    digest = hashlib.sha256(script)
    for name, number in sorted(versions.items()):
        digest.update(f"\n{name}=={number}".encode())
    return digest.hexdigest()[:16]


def trained(root: Path, cache: Path, say: Callable[[str], None]) -> TrainedModel:
    """The model of the checkout at `root` from `cache`/models, trained now (a minute or two) if need be."""
    script = root / SCRIPT
    folder = cache / "models" / key(script.read_bytes(), {name: version(name) for name in MADE_WITH})
    model = TrainedModel(folder)
    if model.complete():
        return model
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        run_script(script, unfinished, say)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return model


def run_script(script: Path, out: Path, say: Callable[[str], None]) -> None:
    """Runs the training as a user would; its lines go to `say`."""
    argv = [sys.executable, str(script), "--out", str(out)]
    last = ""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout or ():
                last = line.strip() or last
                say(last)
        except BaseException:
            process.terminate()
            raise
    if process.returncode or not TrainedModel(out).complete():
        raise StepFailed(
            f"training the model ended with {process.returncode}: {last}; "
            f"run `python {script} --out build/digits` to see all"
        )
