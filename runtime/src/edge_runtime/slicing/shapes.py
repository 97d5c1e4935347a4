"""Every tensor's datatype and shape, with the batch and other open dimensions as -1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from onnx import ModelProto, ValueInfoProto

from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Tensor, width

DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES",
    9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip
NUMBERS: Final = {name: number for number, name in DATATYPES.items()}
_BATCHES: Final = (2, 3)
# Sizes for other open dimensions: large enough for networks that halve pictures five times.
_SIZES: Final = (224, 288)
_SMALL: Final = 1 << 10
_Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor's contract; `item_bytes` is what one item of a batch takes, None where that is not fixed."""

    tensor: Tensor
    item_bytes: int | None


def infer(model: ModelProto, inputs: Sequence[str]) -> Mapping[str, Known]:
    """What is known of every tensor that has a datatype and a rank.

    Shapes are inferred for two sizes of every open dimension, since a reshape hides a symbolic one: what
    differs is open. Where inference knows nothing, the file's own word counts.
    """
    light = _without_weights(model)
    first, second = (_shapes(light, inputs, i) for i in range(len(_BATCHES)))
    said = {v.name: v for v in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
    given = {v.name for v in model.graph.input if v.name in inputs}
    symbols = {_symbol(said[name]) for name in given} - {None}
    found = {}
    for name in {**first, **said}:
        known = (
            _joined(name, *first[name], second[name][1])
            if name in first and name in second
            else _declared(said[name], symbols, name in given)
            if name in said
            else None
        )
        if known is not None:
            found[name] = known
    return found


def open_sizes(value: ValueInfoProto) -> list[str]:
    """The dimensions of an input besides the batch that are not fixed, as `2 (H)`."""
    dims = value.type.tensor_type.shape.dim
    return [
        f"{i} ({d.dim_param or '?'})" for i, d in enumerate(dims) if i > 0 and not d.HasField("dim_value")
    ]


def value_info(tensor: Tensor) -> ValueInfoProto:
    """A tensor as a graph's input or output."""
    shape = [
        ("N" if axis == 0 else f"{tensor.name}.{axis}") if d < 0 else d for axis, d in enumerate(tensor.shape)
    ]
    return onnx.helper.make_tensor_value_info(tensor.name, NUMBERS[tensor.datatype], shape)


def check_input(value: ValueInfoProto) -> None:
    """BadRequest for an input whose rank or datatype cannot be served."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in DATATYPES:
        kind = value.type.WhichOneof("value") or "nothing"
        what = f"datatype {tensor.elem_type}" if kind == "tensor_type" else f"type {kind}"
        raise BadRequest(f"model: input {value.name} has {what}, which is not served here")
    if not tensor.HasField("shape"):
        raise BadRequest(
            f"model: the shape of input {value.name} is not given; export it with fixed dimensions"
        )


def _joined(name: str, datatype: str, one: _Shape, two: _Shape) -> Known | None:
    if len(one) != len(two):
        return None
    open_ = [a is None or a != b for a, b in zip(one, two, strict=True)]
    shape = tuple(-1 if o or a is None else a for o, a in zip(open_, one, strict=True))
    batched = (one[:1], two[:1]) == (_BATCHES[:1], _BATCHES[1:])
    return Known(
        Tensor(name, datatype, shape, batched=batched or shape[:1] != (-1,)), _item_bytes(datatype, one, two)
    )


def _item_bytes(datatype: str, one: _Shape, two: _Shape) -> int | None:
    """Bytes at batch 1, where the size grows with the batch and with nothing else."""
    if datatype == "BYTES" or None in one or None in two:
        return None
    sizes = prod(d for d in one if d is not None), prod(d for d in two if d is not None)
    small, large = (size * width(datatype) for size in sizes)
    step = large - small
    return small if step == 0 else step if step * _BATCHES[0] == small else None


def _declared(value: ValueInfoProto, batches: set[str | None], given: bool) -> Known | None:
    """By the file's word, which is no proof that a tensor other than an input has the batch."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in DATATYPES or not tensor.HasField("shape"):
        return None
    datatype, dims = DATATYPES[tensor.elem_type], tensor.shape.dim
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
    fixed = all(d > 0 for d in shape[1:]) and datatype != "BYTES"
    if fixed and shape and shape[0] < 0:
        fixed = bool(dims[0].dim_param) and dims[0].dim_param in batches
    made = Tensor(value.name, datatype, shape, batched=given or shape[:1] != (-1,))
    return Known(made, made.item_bytes() if fixed else None)


def _symbol(value: ValueInfoProto) -> str | None:
    dims = value.type.tensor_type.shape.dim
    return dims[0].dim_param or None if dims else None


def _without_weights(model: ModelProto) -> ModelProto:
    """The model with its large initializers as inputs: inference needs their shapes only."""
    light = ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = model.graph
    light.graph.name = graph.name or "graph"
    light.graph.node.extend(graph.node)
    light.graph.sparse_initializer.extend(graph.sparse_initializer)
    weights = {i.name for i in graph.initializer}
    light.graph.input.extend(v for v in graph.input if v.name not in weights)
    for initializer in graph.initializer:
        if initializer.ByteSize() < _SMALL:
            light.graph.initializer.append(initializer)
        else:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(initializer.name, initializer.data_type, initializer.dims)
            )
    # What was declared of inner tensors and outputs holds the symbolic batch, which inference would keep.
    for value in graph.output:
        made = light.graph.output.add()
        made.CopyFrom(value)
        if made.type.WhichOneof("value") == "tensor_type":
            made.type.tensor_type.ClearField("shape")
    return light


def _shapes(light: ModelProto, inputs: Sequence[str], choice: int) -> dict[str, tuple[str, _Shape]]:
    fixed = ModelProto()
    fixed.CopyFrom(light)
    for value in fixed.graph.input:
        if value.name in inputs:
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if not dim.HasField("dim_value"):
                    dim.dim_value = (_SIZES if axis else _BATCHES)[choice]
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return {}  # then what the file declares has to do
    return dict(_read((*inferred.input, *inferred.value_info, *inferred.output)))


def _read(values: Sequence[ValueInfoProto]) -> Iterator[tuple[str, tuple[str, _Shape]]]:
    for value in values:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and tensor.elem_type in DATATYPES:
            dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
            yield value.name, (DATATYPES[tensor.elem_type], dims)
