"""Exports a model by the recipes of docs/frameworks.md, and serves the files: `make check-frameworks`.

Each file gives the framework's own results within 1e-4, and passes what `make models` checks: served alone,
measured, cut at every place, planned, and served on the planned routes. The last line is one JSON object.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from benchmarks.bench_models import checked
from benchmarks.frameworks import environments
from benchmarks.frameworks.environments import Environment
from benchmarks.models.catalogue import ModelFile
from benchmarks.models.inputs import InputValues
from benchmarks.models.reports import summary

HERE: Final = Path(__file__).parent
CLOSE: Final = 1e-4
RECIPES: Final[Mapping[str, tuple[Callable[[], Environment], tuple[int, ...]]]] = {
    "pytorch": (environments.pytorch, (1, 3, 32, 32)),
    "keras": (environments.keras, (1, 32, 32, 3)),
}
"""By framework: its environment, and the shape of the exported model's input."""


def main() -> int:
    """Returns 1 if a file failed a check."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="frameworks-") as name:
        models, differences = [], dict[str, float]()
        for framework, (environment, shape) in RECIPES.items():
            folder = Path(name) / framework
            folder.mkdir()
            environment().run(HERE / f"export_{framework}.py", folder)
            file = folder / "classifier.onnx"
            differences[framework] = _difference(file, folder / "classifier.npz")
            inputs = {"image": InputValues.of({"shape": list(shape), "noise": 1.0})}
            models.append(ModelFile(framework, "classification", "export", file, inputs, "the recipe"))
        result = summary(checked(models))
    print(json.dumps({**result, "differences": differences}))
    return 1 if result["left_out"] or max(differences.values()) > CLOSE else 0


def _difference(file: Path, results: Path) -> float:
    """The greatest difference of onnxruntime's results from the framework's."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    with np.load(results) as arrays:
        image, *right = (arrays[name] for name in arrays.files)
    found = session.run(None, {"image": image})
    return max(float(np.abs(a - b).max()) for a, b in zip(found, right, strict=True))


if __name__ == "__main__":
    sys.exit(main())
