"""The operators that encode a slice's outputs and decode a slice's inputs.

int8 is affine, per item: with low = min(0, minimum) and high = max(0, maximum), scale = high / 255 - low /
255, zero = round(-low / scale), q = round(x / scale) + zero, so that 0 stays 0. An item with a value that is
not finite has no range: its scale is NaN, and all its values are decoded to NaN. fp16 saturates at the
largest finite half instead of returning infinity.

onnxruntime fuses quantization operators with their neighbors, whether they belong to the model or to a codec.
A codec therefore uses arithmetic only (no QuantizeLinear or DequantizeLinear) and connects to the model only
by `_border`. This keeps the numerics of the model independent of the codec, wherever the slice runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge_runtime.codecs.contracts import FP16, INT8, scale_name, unknown_codec, zero_name
from edge_runtime.errors import BadRequest
from edge_runtime.tensors import NUMPY_TYPES, Tensor

_LARGEST_HALF: Final = 65504.0
_LEVELS: Final = 255.0
_LEAST_SCALE: Final = float(np.finfo(np.float32).tiny)
# Below one half by more than the rounding error of FP32 in 256 steps: no sum is below 0 or reaches 256.
_ROUNDING: Final = 0.498
_LEAST_OPSET: Final = 8  # Max, Sum and Cast with the inputs used here
_CLIP_BY_INPUT: Final = 12  # for any datatype; opset 11 supports FP32 only
_SUM_AXES_BY_INPUT: Final = 13
_AXES_BY_INPUT: Final = 18


def check_opset(codec: str, opset: int) -> None:
    """Raises BadRequest if a model's opset lacks an operator of a codec."""
    if opset < _LEAST_OPSET:
        raise BadRequest(
            f"codec: {codec} needs opset {_LEAST_OPSET} or later, the model has {opset}: "
            f"export it with a later opset, or use fp32"
        )


def encoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Yields the nodes that encode a tensor of the slice."""
    check_opset(codec, opset)
    yield _border(tensor.name, f"{wire}.value")
    if codec == FP16:
        yield from _bounded(tensor, f"{wire}.value", f"{wire}.bounded", opset)
        yield _node("Cast", [f"{wire}.bounded"], wire, to=TensorProto.FLOAT16)
        return
    if codec != INT8:
        raise unknown_codec(codec)
    yield from _int8_encoder(tensor, wire, opset)


def decoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Yields the nodes that decode a tensor of the slice."""
    check_opset(codec, opset)
    kind = helper.np_dtype_to_tensor_dtype(NUMPY_TYPES[tensor.datatype])
    if codec == FP16:
        yield _node("Cast", [wire], f"{wire}.value", to=kind)
        yield _border(f"{wire}.value", tensor.name)
        return
    if codec != INT8:
        raise unknown_codec(codec)
    ones = [0] + [1] * (len(tensor.shape) - 1)
    yield _constant(f"{wire}.item", np.array(ones, np.int64))
    yield _node("Reshape", [scale_name(wire), f"{wire}.item"], f"{wire}.step")
    yield _node("Reshape", [zero_name(wire), f"{wire}.item"], f"{wire}.nought")
    yield _node("Cast", [f"{wire}.nought"], f"{wire}.offset", to=TensorProto.FLOAT)
    yield _node("Cast", [wire], f"{wire}.steps", to=TensorProto.FLOAT)
    yield _node("Sub", [f"{wire}.steps", f"{wire}.offset"], f"{wire}.raised")
    yield _node("Mul", [f"{wire}.raised", f"{wire}.step"], f"{wire}.single")
    value = f"{wire}.single"
    if tensor.datatype != "FP32":
        value = f"{wire}.value"
        yield _node("Cast", [f"{wire}.single"], value, to=kind)
    yield _border(value, tensor.name)


def _int8_encoder(tensor: Tensor, wire: str, opset: int) -> Iterator[NodeProto]:
    value = f"{wire}.value"
    if tensor.datatype != "FP32":
        value = f"{wire}.single"
        yield _node("Cast", [f"{wire}.value"], value, to=TensorProto.FLOAT)

    def name(part: str) -> str:
        return f"{wire}.{part}"

    def made(kind: str, inputs: str, output: str) -> NodeProto:
        return _node(kind, [name(part) for part in inputs.split()], name(output))

    for part, number in (
        ("nothing", 0.0),
        ("one", 1.0),
        ("levels", _LEVELS),
        ("least", _LEAST_SCALE),
        ("half", 0.5),
        ("rounding", _ROUNDING),
    ):
        yield _constant(name(part), np.array(number, np.float32))
    axes = list(range(1, len(tensor.shape)))
    yield from _reduced("ReduceMin", value, name("lowest"), axes, opset)
    yield from _reduced("ReduceMax", value, name("highest"), axes, opset)
    yield made("Min", "lowest nothing", "low")
    yield made("Max", "highest nothing", "high")
    # Each is divided before the subtraction: the difference itself can overflow FP32.
    yield made("Div", "low levels", "below")
    yield made("Div", "high levels", "above")
    yield made("Sub", "above below", "span")
    yield made("Max", "span least", "step")
    yield made("Div", "one step", "inverse")
    yield made("Mul", "low inverse", "lift")
    yield made("Sub", "half lift", "lifted")
    yield made("Floor", "lifted", "offset")
    yield made("Sum", "offset rounding", "raise")
    yield _node("Mul", [value, name("inverse")], name("steps"))
    yield made("Sum", "steps raise", "raised")
    yield _node("Cast", [name("raised")], wire, to=TensorProto.UINT8)
    # 0, or NaN if a value is not finite; the minimum and the maximum do not propagate NaN.
    yield from _reduced("ReduceSum", name("raised"), name("total"), axes, opset)
    yield made("Mul", "total nothing", "flaw")
    yield made("Sum", "step flaw", "checked")
    yield _constant(name("row"), np.array([0, 1], np.int64))
    yield _node("Reshape", [name("checked"), name("row")], scale_name(wire))
    yield _node("Cast", [name("offset")], name("nought"), to=TensorProto.UINT8)
    yield _node("Reshape", [name("nought"), name("row")], zero_name(wire))


def _border(value: str, output: str) -> NodeProto:
    """Passes a tensor on unchanged: Max of one tensor, which no rule of onnxruntime fuses or removes."""
    return _node("Max", [value], output)


def _bounded(tensor: Tensor, value: str, output: str, opset: int) -> Iterator[NodeProto]:
    number = NUMPY_TYPES[tensor.datatype]
    least, most = f"{output}.least", f"{output}.most"
    yield _constant(least, np.array(-_LARGEST_HALF, number))
    yield _constant(most, np.array(_LARGEST_HALF, number))
    if opset >= _CLIP_BY_INPUT:
        yield _node("Clip", [value, least, most], output)
        return
    yield _node("Max", [value, least], f"{output}.below")
    yield _node("Min", [f"{output}.below", most], output)


def _reduced(kind: str, value: str, output: str, axes: list[int], opset: int) -> Iterator[NodeProto]:
    if opset < (_SUM_AXES_BY_INPUT if kind == "ReduceSum" else _AXES_BY_INPUT):
        yield _node(kind, [value], output, axes=axes, keepdims=1)
        return
    yield _constant(f"{output}.axes", np.array(axes, np.int64))
    yield _node(kind, [value, f"{output}.axes"], output, keepdims=1)


def _constant(name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> NodeProto:
    made = helper.make_node(kind, inputs, [output])
    made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return made
