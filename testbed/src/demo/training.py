"""Trains the example's model once and caches it."""

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
    """Paths of the files of a training run."""

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
    """Returns the key of a training run, from all that affects its result: script and library versions."""
    digest = hashlib.sha256(script)
    for name, number in sorted(versions.items()):
        digest.update(f"\n{name}=={number}".encode())
    return digest.hexdigest()[:16]


class Training:
    """The model of a training script in `cache`/models; trained (one to two minutes) if it is missing."""

    def __init__(self, script: Path, cache: Path, say: Callable[[str], None]) -> None:
        self._script, self._say = script, say
        versions = {name: version(name) for name in MADE_WITH}
        self.model = TrainedModel(cache / "models" / key(self._script.read_bytes(), versions))
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self) -> TrainedModel:
        """Returns once the model exists. Raises StepFailed."""
        folder = self.model.folder
        if self.model.complete():
            return self.model
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
        try:
            self._train(unfinished)
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return self.model

    def stop(self) -> None:
        """Ends a run on another thread, which then raises StepFailed."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def _train(self, out: Path) -> None:
        """Runs the script as a user would, and prints its output."""
        argv = [sys.executable, str(self._script), "--out", str(out)]
        last = ""
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            self._process = process
            try:
                if self._stopped:
                    process.terminate()
                for line in process.stdout or ():
                    last = line.strip() or last
                    self._say(last)
            except BaseException:
                process.terminate()
                raise
        if process.returncode or not TrainedModel(out).complete():
            raise StepFailed(
                f"training the model ended with {process.returncode}: {last}; "
                f"run `python {self._script} --out build/digits` to see all"
            )
