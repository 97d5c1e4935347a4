"""Datatype and shape of every tensor, with the batch and other open dimensions as -1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from onnx import ModelProto, TensorShapeProto, ValueInfoProto

from edge_runtime.errors import BadRequest
from edge_runtime.slicing.checking import MIN_IR, missing_domains
from edge_runtime.slicing.dimensions import DimensionSizes, Inferred, OpenDimensions, Size, joined
from edge_runtime.slicing.tensordata import is_outside
from edge_runtime.tensors import Tensor, width

DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES",
    9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip
NUMBERS: Final = {name: number for number, name in DATATYPES.items()}
_SMALL: Final = 1 << 10
_Shapes = Mapping[str, tuple[str, Inferred]]


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor and its dimensions, the open ones by name.

    batched: whether its first dimension is proven to be the batch. in_items: whether it consists of items of
    one size, one for each of the batch, at least by the file's declaration.
    """

    tensor: Tensor
    dimensions: tuple[Size, ...]
    batched: bool
    in_items: bool

    @property
    def item_bytes(self) -> int | None:
        """Bytes of one item, or of the whole tensor if nothing is open; None if unknown."""
        numbers = [size for size in self.dimensions if isinstance(size, int)]
        if self.tensor.datatype == "BYTES" or len(numbers) < len(self.dimensions) - self.in_items:
            return None
        return prod(numbers) * width(self.tensor.datatype)


def infer(
    model: ModelProto, inputs: Sequence[str], shapes: Mapping[str, Sequence[int]] | None = None
) -> Mapping[str, Known]:
    """What is known of every tensor that has a datatype and a rank.

    If inference finds nothing, the file's declaration is used for sizes, but not for equality of dimensions.
    shapes: sizes for the open dimensions of inputs; a first dimension of 1 stays open, it is the batch.
    """
    light = _without_weights(model)
    given = {v.name: v for v in light.graph.input if v.name in inputs}
    for name, shape in (shapes or {}).items():
        _fix(given[name], shape)
    open_ = OpenDimensions.of({name: _dimensions(v.type.tensor_type.shape) for name, v in given.items()})
    seen = _Seen.of(light, open_)
    claims = {v.name: v for v in (*model.graph.output, *model.graph.value_info) if _is_news(v, seen.tensors)}
    claims |= {v.name: v for v in _reshaped(light, seen, claims)}
    if claims:
        light.graph.value_info.extend(claims.values())
        open_ = open_.claiming({name: _dimensions(v.type.tensor_type.shape) for name, v in claims.items()})
        again = _Seen.of(light, open_)
        seen = again if again.symbolic else seen
    found = {}
    for name, datatype in seen.tensors.items():
        dimensions = joined(name, seen.symbolic.get(name, (datatype, None))[1], seen.samples_of(name), open_)
        if dimensions is not None:
            found[name] = _known(name, datatype, dimensions, seen, open_)
    return found


def ranks(model: ModelProto, inputs: Sequence[str], name: str) -> list[int]:
    """Numbers of dimensions that a tensor has with inputs of several sizes, ascending.

    Several for the result of a Squeeze or an If that depends on the number of items.
    """
    light = _without_weights(model)
    given = {v.name: _dimensions(v.type.tensor_type.shape) for v in light.graph.input if v.name in inputs}
    seen = _Seen.of(light, OpenDimensions.of(given))
    return sorted({len(shape) for _, shape in seen.samples_of(name) if shape is not None})


def open_sizes(value: ValueInfoProto) -> list[str]:
    """The dimensions of an input besides the batch that are not fixed, as `2 (H)`."""
    dims = value.type.tensor_type.shape.dim
    found = enumerate(zip(dims, _dimensions(value.type.tensor_type.shape), strict=True))
    return [f"{i} ({d.dim_param or '?'})" for i, (d, size) in found if i > 0 and not isinstance(size, int)]


def value_info(tensor: Tensor, dimensions: Sequence[Size]) -> ValueInfoProto:
    """A tensor as a graph's input or output; `dimensions` are its own or those of the tensor it encodes."""
    shape = [named if size < 0 else size for size, named in zip(tensor.shape, dimensions, strict=False)]
    return onnx.helper.make_tensor_value_info(tensor.name, NUMBERS[tensor.datatype], shape)


def check_input(value: ValueInfoProto) -> None:
    """Raises BadRequest for an input whose rank or datatype cannot be served."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in DATATYPES:
        kind = value.type.WhichOneof("value") or "nothing"
        what = f"datatype {tensor.elem_type}" if kind == "tensor_type" else f"type {kind}"
        raise BadRequest(f"model: input {value.name} has {what}, which is not supported")
    if not tensor.HasField("shape"):
        raise BadRequest(
            f"model: the shape of input {value.name} is missing: export it with fixed dimensions"
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """Inferred datatype and shape of every tensor, with symbols for open dimensions and with numbers."""

    symbolic: _Shapes
    sampled: Sequence[tuple[DimensionSizes, _Shapes]]

    @classmethod
    def of(cls, light: ModelProto, open_: OpenDimensions) -> _Seen:
        same_results = open_.same_results() if open_.names else []
        samples = [*same_results, *(s for s in open_.distinct() if s not in same_results and s)]
        return cls(_shapes(light, open_, {}), [(s, _shapes(light, open_, s)) for s in samples])

    @property
    def tensors(self) -> dict[str, str]:
        """Datatypes by tensor."""
        shapes = (self.symbolic, *(shapes for _, shapes in self.sampled))
        return {name: datatype for found in shapes for name, (datatype, _) in found.items()}

    def samples_of(self, name: str) -> list[tuple[DimensionSizes, Inferred | None]]:
        """A tensor's shape with each sample."""
        return [(sample, shapes[name][1] if name in shapes else None) for sample, shapes in self.sampled]


def _known(
    name: str, datatype: str, dimensions: tuple[Size, ...], seen: _Seen, open_: OpenDimensions
) -> Known:
    shape = tuple(size if isinstance(size, int) else -1 for size in dimensions)
    named = shape[:1] == (-1,) and dimensions[0] in open_.batches
    # Several inputs with a batch each: a request gives them one size.
    follows = len(open_.batches) + len(open_.claimed) > 1 and _follows(seen.samples_of(name), open_)
    batched = named or (follows and not open_.claimed)
    in_items = (named or follows) and all(size >= 0 for size in shape[1:])
    tensor = Tensor(name, datatype, shape, batched=batched or shape[:1] != (-1,))
    return Known(tensor, dimensions, batched, in_items)


def _follows(seen: Sequence[tuple[DimensionSizes, Inferred | None]], open_: OpenDimensions) -> bool:
    """Whether the first dimension is the batch if all inputs have batches of one size."""
    ones, *same_results = open_.same_results()
    sizes = [(sample, shape[0] if shape else None) for sample, shape in seen]
    return bool(open_.batches) and all(
        size == sample[open_.batches[0]] or (size is None and sample == ones)
        for sample, size in sizes
        if sample == ones or sample in same_results
    )


def _fix(value: ValueInfoProto, shape: Sequence[int]) -> None:
    """Gives the open dimensions of an input their sizes."""
    dims = value.type.tensor_type.shape
    for axis, (dim, named, size) in enumerate(zip(dims.dim, _dimensions(dims), shape, strict=True)):
        if not isinstance(named, int) and (axis or size > 1):
            dim.dim_value = size


def _reshaped(
    light: ModelProto, seen: _Seen, claims: Mapping[str, ValueInfoProto]
) -> Iterator[ValueInfoProto]:
    """The claims whose rank is not the length of the shape that their Reshape has, corrected."""
    for node in light.graph.node:
        claim = claims.get(node.output[0]) if node.op_type == "Reshape" else None
        if claim is None:
            continue
        shapes = (seen.symbolic, *(shapes for _, shapes in seen.sampled))
        lengths = {tuple(found[node.input[1]][1]) for found in shapes if node.input[1] in found}
        if len(lengths) != 1:
            continue
        (length,) = lengths
        rank, tensor = (length[0] if len(length) == 1 else None), claim.type.tensor_type
        if isinstance(rank, int) and rank != len(tensor.shape.dim):
            yield onnx.helper.make_tensor_value_info(claim.name, tensor.elem_type, [None] * rank)


def _is_news(value: ValueInfoProto, known: Mapping[str, str]) -> bool:
    """Whether a tensor is declared of which inference found nothing."""
    tensor = value.type.tensor_type
    return value.name not in known and tensor.elem_type in DATATYPES and tensor.HasField("shape")


def _dimensions(shape: TensorShapeProto) -> list[Size | None]:
    """Dimensions as onnxruntime reads them: a negative number is unknown, and 0 is a size."""
    return [
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or None
        for d in shape.dim
    ]


def _without_weights(model: ModelProto) -> ModelProto:
    """The model with its large initializers as inputs, because inference needs only their shapes.

    Declarations of inner tensors and outputs are removed: inference would keep them, right or wrong.
    """
    light = ModelProto(ir_version=max(model.ir_version, MIN_IR))
    light.opset_import.extend(model.opset_import)
    for domain, version in missing_domains(model):
        light.opset_import.add(domain=domain, version=version)
    light.functions.extend(model.functions)
    graph = model.graph
    light.graph.name = graph.name or "graph"
    light.graph.node.extend(graph.node)
    weights = {i.name for i in graph.initializer} | {i.values.name for i in graph.sparse_initializer}
    light.graph.input.extend(v for v in graph.input if v.name not in weights)
    for initializer in graph.initializer:
        if initializer.ByteSize() < _SMALL and not is_outside(initializer):
            light.graph.initializer.append(initializer)
        else:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(initializer.name, initializer.data_type, initializer.dims)
            )
    for sparse in graph.sparse_initializer:
        light.graph.input.append(
            onnx.helper.make_tensor_value_info(sparse.values.name, sparse.values.data_type, sparse.dims)
        )
    return light


def _shapes(light: ModelProto, open_: OpenDimensions, sample: DimensionSizes) -> _Shapes:
    """Shapes of all tensors with the sizes of a sample, and with symbols where it has none."""
    sized = ModelProto()
    sized.CopyFrom(light)
    for value in (*sized.graph.input, *sized.graph.value_info):
        for dim, size in zip(
            value.type.tensor_type.shape.dim, open_.shapes.get(value.name, ()), strict=False
        ):
            if isinstance(size, str):
                if size in sample:
                    dim.dim_value = sample[size]
                else:
                    dim.dim_param = size
    try:
        inferred = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        return {}  # the file's declarations are used instead
    return dict(_read((*inferred.input, *inferred.value_info)))


def _read(values: Sequence[ValueInfoProto]) -> Iterator[tuple[str, tuple[str, Inferred]]]:
    for value in values:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and tensor.elem_type in DATATYPES:
            yield value.name, (DATATYPES[tensor.elem_type], _dimensions(tensor.shape))
