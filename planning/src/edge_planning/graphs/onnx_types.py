"""The types of the tensors in an ONNX file: datatypes and shapes, for given sizes of symbolic dimensions.

The rules equal those of the runtime's slicing; tests/contract checks both. Inferred shapes take precedence. A
declared shape is used only for tensors whose rank inference does not know.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto
from onnx.checker import ValidationError
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError

from edge_planning.graphs.operations import UNKNOWN, TensorType

OWN_DOMAINS = ("", "ai.onnx")
BATCHES = (211, 100_003)
"""Batch sizes at which shapes are also inferred, to find the dimensions that grow with the batch."""
SMALL = 1024
"""Maximum number of elements of a constant whose values are read: enough for shapes, less than weights."""

KNOWN_TYPES = frozenset(TensorProto.DataType.keys())
BITS: Mapping[int, int] = {
    TensorProto.DataType.Value(name): bits
    for bits, names in {
        2: "INT2 UINT2",
        4: "INT4 UINT4 FLOAT4E2M1",
        8: "BOOL INT8 UINT8 FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0",
        16: "INT16 UINT16 FLOAT16 BFLOAT16",
        32: "INT32 UINT32 FLOAT",
        64: "INT64 UINT64 DOUBLE COMPLEX64",
        128: "COMPLEX128",
    }.items()
    for name in names.split()
    if name in KNOWN_TYPES
}

_ARITHMETIC = """
    Abs Add And Cast Ceil Concat Constant Div Equal Flatten Floor Gather Greater GreaterOrEqual Identity Less
    LessOrEqual Max Min Mod Mul Neg Not Or Pow ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round Shape
    Size Slice Split Sqrt Squeeze Sub Transpose Unsqueeze Where
"""
ARITHMETIC = frozenset(_ARITHMETIC.split())
"""Operators with which exporters compute shapes; their outputs are not much larger than their inputs."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A file for a batch of one.

    Attributes:
        graph: The graph without the nodes that could be evaluated.
        types: The type of every tensor.
        crossing: Tensors that can be sent between places. Their inferred size is known, and if the inputs are
            a batch, their first dimension is the batch.
    """

    graph: GraphProto
    types: Mapping[str, TensorType]
    crossing: frozenset[str]
    warnings: tuple[str, ...]


def typed(
    lean: ModelProto,
    weights: Mapping[str, TensorType],
    inputs: Iterable[ValueInfoProto],
    stated: GraphProto,
    bounds: Mapping[str, int],
) -> Typed:
    """Returns the types of the tensors of a lean model (without values of weights and declarations).

    `stated`: The graph of the file with its declarations. `bounds`: Sizes of symbolic dimensions by name.
    """
    batches = [names[0] for value in inputs if (names := open_dimensions(value)) and names[0]]
    sizes = {**dict.fromkeys(batches, 1), **bounds}
    free = [name for name in batches if name not in bounds]
    one = _Reading.of(lean, weights, stated, sizes)
    crossing = {name for name, kind in one.types.items() if kind.known}
    for batch in BATCHES if free else ():
        many = _Reading.of(lean, weights, stated, sizes | dict.fromkeys(free, batch)).types
        crossing = {name for name in crossing if _has_items(one.types[name], many.get(name, UNKNOWN), batch)}
    # For the cost of running it, declared shapes are better than unknown ones.
    one.take_word(lambda kind: not kind.known)
    return Typed(one.model.graph, one.types, frozenset(crossing), one.warnings)


def open_dimensions(value: ValueInfoProto) -> list[str]:
    """Returns the name of each symbolic dimension, and "" for each fixed one.

    As in onnxruntime, a negative number is an unknown size and 0 is a size. A dimension without a name is
    named by its tensor and axis, `image.2`.
    """
    return [
        "" if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or f"{value.name}.{axis}"
        for axis, d in enumerate(value.type.tensor_type.shape.dim)
    ]


class _Reading:
    """A model with sizes for its symbolic dimensions, and the types known so far."""

    def __init__(self, model: ModelProto, weights: Mapping[str, TensorType], stated: GraphProto) -> None:
        self.model = model
        self._weights, self._stated = weights, stated
        self._infer()

    @classmethod
    def of(
        cls,
        lean: ModelProto,
        weights: Mapping[str, TensorType],
        stated: GraphProto,
        sizes: Mapping[str, int],
    ) -> "_Reading":
        sized = ModelProto()
        sized.CopyFrom(lean)
        del sized.graph.input[:]
        sized.graph.input.extend(_sized(value, sizes) for value in lean.graph.input)
        declared = GraphProto()
        declared.value_info.extend(_sized(value, sizes) for value in (*stated.output, *stated.value_info))
        found = cls(sized, weights, declared)
        found.take_word(lambda kind: kind.shape is None)
        return found

    def take_word(self, wanted: Callable[[TensorType], bool]) -> None:
        """Adopts the declared types of the tensors for which `wanted` holds, and infers the rest again."""
        made = {name for node in self.model.graph.node for name in node.output}
        taken = {}
        for value in self._stated.value_info:
            known = self.types.get(value.name, UNKNOWN)
            if value.name in made and wanted(known) and (filled := _filled(known, value)) is not None:
                taken[value.name] = filled
        if taken:
            graph = self.model.graph
            kept = [value for value in graph.value_info if value.name not in taken]
            kept = [_copy(value) for value in kept]
            del graph.value_info[:]
            graph.value_info.extend([*kept, *taken.values()])
            self._infer()

    def _infer(self) -> None:
        while True:
            self.model, self.warnings = _inferred(self.model)
            self.types: dict[str, TensorType] = _types(self.model.graph) | dict(self._weights)
            # Arithmetic on shapes is evaluated only while some shape is unknown.
            if not (_open(self.model.graph, self.types) and _computed(self.model.graph, self.types)):
                break


def _filled(known: TensorType, value: ValueInfoProto) -> ValueInfoProto | None:
    """Fills unknown parts from a declaration; None if it adds nothing or contradicts the inferred type."""
    declared = _type(value.type)
    if declared.shape is None or declared == UNKNOWN:
        return None
    if known.shape is None:
        return _copy(value)
    if len(known.shape) != len(declared.shape) or known.bits not in (None, declared.bits):
        return None
    filled = _copy(value)
    for size, dimension in zip(known.shape, filled.type.tensor_type.shape.dim, strict=True):
        if size is not None:
            dimension.dim_value = size
    return filled if _type(filled.type) != known else None


def _copy(value: ValueInfoProto) -> ValueInfoProto:
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    return copy


def _has_items(one: TensorType, many: TensorType, batch: int) -> bool:
    """Returns whether a tensor's first dimension is the batch."""
    return one.shape is not None and one.shape[:1] == (1,) and many.shape == (batch, *one.shape[1:])


def _sized(value: ValueInfoProto, sizes: Mapping[str, int]) -> ValueInfoProto:
    """Returns a copy with the given sizes of symbolic dimensions."""
    copy = _copy(value)
    if copy.type.HasField("tensor_type") and copy.type.tensor_type.HasField("shape"):
        names = open_dimensions(value)
        for name, dimension in zip(names, copy.type.tensor_type.shape.dim, strict=True):
            if name in sizes:
                dimension.dim_value = sizes[name]
            elif name:
                dimension.dim_param = name
    return copy


def _inferred(lean: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """Returns the model with inferred shapes, and a warning if inference failed."""
    try:
        return onnx.shape_inference.infer_shapes(lean, data_prop=True), ()
    except (InferenceError, ValidationError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        return lean, (f"shape inference failed, only declared shapes are known: {reason}",)


def _types(graph: GraphProto) -> dict[str, TensorType]:
    types = {
        tensor.name: TensorType(tuple(tensor.dims), BITS.get(tensor.data_type))
        for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = _type(value.type)
    return types


def _type(proto: TypeProto) -> TensorType:
    if not proto.HasField("tensor_type"):
        return UNKNOWN
    tensor = proto.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value >= 0 else None
            for dimension in tensor.shape.dim
        )
    return TensorType(shape, BITS.get(tensor.elem_type))


def _open(graph: GraphProto, types: Mapping[str, TensorType]) -> bool:
    return any(
        not types.get(tensor, UNKNOWN).known for node in graph.node for tensor in node.output if tensor
    )


def _computed(graph: GraphProto, types: Mapping[str, TensorType]) -> bool:
    """Replaces arithmetic on known shapes with constants; returns whether it replaced any."""
    values = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= SMALL
    }
    kept, found = [], False
    for node in graph.node:
        results = _results(node, values, types)
        if results is None:
            kept.append(node)
            continue
        for tensor, value in zip(node.output, results, strict=False):
            values[tensor] = value
            graph.initializer.append(onnx.numpy_helper.from_array(value, tensor))
        found = True
    if found:
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    return found


def _results(
    node: NodeProto, values: Mapping[str, np.ndarray], types: Mapping[str, TensorType]
) -> list[np.ndarray] | None:
    """Returns the results of a node if its inputs are known and the results small, otherwise None."""
    if node.op_type not in ARITHMETIC or node.domain not in OWN_DOMAINS:
        return None
    given: dict[str, np.ndarray] = {name: values[name] for name in node.input if name in values}
    if node.op_type in ("Shape", "Size"):
        kind = types.get(node.input[0], UNKNOWN)
        if not kind.known:
            return None
        given = {node.input[0]: np.broadcast_to(np.False_, kind.counted_shape())}
    if any(name and name not in given for name in node.input):
        return None
    try:
        results = list(ReferenceEvaluator(node).run(None, given))
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        NotImplementedError,
    ):
        return None
    return results if all(isinstance(r, np.ndarray) and r.size <= SMALL for r in results) else None
