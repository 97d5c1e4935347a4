"""The operators that encode a slice's outputs and decode a slice's inputs.

int8 is affine, per item: with low = min(0, least value) and high = max(0, greatest value),
scale = (high - low) / 255, zero = round(-low / scale), q = clip(round(x / scale) + zero, 0, 255), so that
0 stays 0. These are DynamicQuantizeLinear's formulas with a row of the batch in place of the whole tensor.
fp16 saturates at the largest finite half instead of giving infinity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge_runtime.codecs.contracts import FP16, scale_name, zero_name
from edge_runtime.errors import BadRequest
from edge_runtime.slicing.shapes import NUMBERS
from edge_runtime.tensors import Tensor

_LARGEST_HALF: Final = 65504.0
_LEVELS: Final = 255.0
_PER_ROW: Final = 13  # the first opset whose QuantizeLinear has an axis
_CLIP_BY_INPUT: Final = 11
_AXES_BY_INPUT: Final = 18


def check_opset(codec: str, opset: int) -> None:
    """BadRequest when a model's opset lacks what a codec is made of."""
    least = _CLIP_BY_INPUT if codec == FP16 else _PER_ROW
    if opset < least:
        raise BadRequest(
            f"codec: {codec} needs opset {least} or later, the model has {opset}; "
            f"export it again, or use fp32"
        )


def encoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Makes the tensors on the wire from a tensor of the slice."""
    check_opset(codec, opset)
    value = tensor.name
    if codec == FP16:
        limits = [f"{wire}.least", f"{wire}.most"]
        number = helper.tensor_dtype_to_np_dtype(NUMBERS[tensor.datatype])
        for name, limit in zip(limits, (-_LARGEST_HALF, _LARGEST_HALF), strict=True):
            yield _constant(name, np.array(limit, number))
        yield _node("Clip", [value, *limits], f"{wire}.clipped")
        yield _node("Cast", [f"{wire}.clipped"], wire, to=TensorProto.FLOAT16)
        return
    if tensor.datatype != "FP32":
        yield _node("Cast", [value], f"{wire}.single", to=TensorProto.FLOAT)
        value = f"{wire}.single"
    low, high, scale, zero = (f"{wire}.{part}" for part in ("low", "high", "steps", "offset"))
    yield _constant(f"{wire}.nothing", np.array(0, np.float32))
    yield _constant(f"{wire}.levels", np.array(_LEVELS, np.float32))
    yield _constant(f"{wire}.one", np.array(1, np.float32))
    yield _node("Flatten", [value], f"{wire}.flat", axis=1)
    for kind, bound, name in (("ReduceMin", "Min", low), ("ReduceMax", "Max", high)):
        yield from _reduced(kind, f"{wire}.flat", f"{name}.found", opset)
        yield _node(bound, [f"{name}.found", f"{wire}.nothing"], name)
    yield _node("Sub", [high, low], f"{wire}.span")
    yield _node("Div", [f"{wire}.span", f"{wire}.levels"], f"{wire}.step")
    # Nothing but zeros: any scale will do, only not 0.
    yield _node("Equal", [f"{wire}.step", f"{wire}.nothing"], f"{wire}.empty")
    yield _node("Where", [f"{wire}.empty", f"{wire}.one", f"{wire}.step"], scale_name(wire))
    yield _node("Div", [low, scale_name(wire)], f"{wire}.lowest")
    yield _node("Neg", [f"{wire}.lowest"], f"{wire}.raised")
    yield _node("Round", [f"{wire}.raised"], f"{wire}.rounded")
    yield _node("Cast", [f"{wire}.rounded"], zero_name(wire), to=TensorProto.UINT8)
    yield from _rows(wire, scale, zero)
    yield _node("QuantizeLinear", [value, scale, zero], wire, axis=0)


def decoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Makes a tensor of the slice from the tensors on the wire."""
    check_opset(codec, opset)
    kind = NUMBERS[tensor.datatype]
    if codec == FP16:
        yield _node("Cast", [wire], tensor.name, to=kind)
        return
    scale, zero = f"{wire}.steps", f"{wire}.offset"
    yield from _rows(wire, scale, zero)
    if tensor.datatype == "FP32":
        yield _node("DequantizeLinear", [wire, scale, zero], tensor.name, axis=0)
        return
    yield _node("DequantizeLinear", [wire, scale, zero], f"{wire}.single", axis=0)
    yield _node("Cast", [f"{wire}.single"], tensor.name, to=kind)


def _rows(wire: str, scale: str, zero: str) -> Iterator[NodeProto]:
    """One number for each item, as QuantizeLinear takes them: [N, 1] to [N]."""
    yield _constant(f"{wire}.rows", np.array([-1], np.int64))
    yield _node("Reshape", [scale_name(wire), f"{wire}.rows"], scale)
    yield _node("Reshape", [zero_name(wire), f"{wire}.rows"], zero)


def _reduced(kind: str, value: str, name: str, opset: int) -> Iterator[NodeProto]:
    if opset < _AXES_BY_INPUT:
        yield _node(kind, [value], name, axes=[1], keepdims=1)
        return
    yield _constant(f"{name}.axes", np.array([1], np.int64))
    yield _node(kind, [value, f"{name}.axes"], name, keepdims=1)


def _constant(name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> NodeProto:
    made = helper.make_node(kind, inputs, [output])
    made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return made
