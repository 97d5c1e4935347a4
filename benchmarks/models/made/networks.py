"""Small networks as onnx writes them in text, with weights of noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper, parser

from benchmarks.models.inputs import Array, InputValues

Write = Callable[[ModelProto, Path], None]


@dataclass(frozen=True, slots=True)
class MadeModel:
    """A network to write to a file.

    Attributes:
        body: Its graph, in onnx's text.
        weights: Shapes of weights of noise, or their values, by name.
        opset, domains: The versions of the operators.
        functions: In onnx's text.
        metadata: Entries of the file.
        change: Changes the parsed model, which text cannot express.
        write: Writes the file.
    """

    name: str
    kind: str
    body: str
    inputs: Mapping[str, InputValues]
    weights: Mapping[str, Sequence[int] | Array] = field(default_factory=dict)
    opset: int = 17
    domains: Mapping[str, int] = field(default_factory=dict)
    functions: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[ModelProto], None] | None = None
    write: Write = lambda model, path: onnx.save(model, path)

    def model(self) -> ModelProto:
        """Returns the network; always the same."""
        imports = ", ".join(f'"{d}": {v}' for d, v in {"": self.opset, **self.domains}.items())
        head = f"<ir_version: {_ir_version(self.opset)}, opset_import: [{imports}]>"
        model: ModelProto = parser.parse_model("\n".join([head, self.body, self.functions]))
        rng = np.random.default_rng(crc32(self.name.encode()))
        model.graph.initializer.extend(_weight(rng, name, given) for name, given in self.weights.items())
        onnx.helper.set_model_props(model, dict(self.metadata))
        if self.change is not None:
            self.change(model)
        return model


def noise(*shape: int, other: Sequence[int] | None = None, scale: float = 1.0) -> InputValues:
    """Normal values."""
    return InputValues(shape, None if other is None else tuple(other), noise=scale)


def integers(*shape: int, below: int, other: Sequence[int] | None = None) -> InputValues:
    """Integers from 0."""
    return InputValues(shape, None if other is None else tuple(other), below=below)


def all_of(value: object, *shape: int, other: Sequence[int] | None = None) -> InputValues:
    """One value for all elements."""
    return InputValues(shape, None if other is None else tuple(other), values=value)


def _weight(rng: np.random.Generator, name: str, given: Sequence[int] | Array) -> TensorProto:
    if isinstance(given, np.ndarray):
        return numpy_helper.from_array(given, name)
    fan_in = int(np.prod(given[1:])) if len(given) > 2 else given[0]
    scale = 1.0 / np.sqrt(fan_in)
    return numpy_helper.from_array(rng.normal(0.0, scale, given).astype(np.float32), name)


def _ir_version(opset: int) -> int:
    """The version of the format that had the opset first; onnxruntime refuses newer ones than it knows."""
    return 10 if opset > 20 else 9 if opset > 18 else 8 if opset > 14 else 7 if opset > 11 else 4
