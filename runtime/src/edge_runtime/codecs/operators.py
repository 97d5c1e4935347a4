"""ONNX operators as plain values, so that codecs can be defined without onnx.

ONNX Runtime fuses quantization operators with their neighbors, whichever file they come from. So codecs use
none (QuantizeLinear, DequantizeLinear), only arithmetic, and connect to the model only by `border`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edge_runtime.tensors import Array

LEAST_OPSET: Final = 8  # Max, Sum and Cast as they are used here
_CLIP_BY_INPUT: Final = 12  # of every datatype; opset 11 has it for single precision only
_SUM_AXES_BY_INPUT: Final = 13
_AXES_BY_INPUT: Final = 18


@dataclass(frozen=True, slots=True)
class CodecOperator:
    """One operator with one output.

    Attributes:
        to: Datatype of the output, of a Cast only.
        value: Of a Constant only.
    """

    kind: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, int | list[int]] = field(default_factory=dict)
    to: str | None = None
    value: Array | None = None


def border(value: str, output: str) -> CodecOperator:
    """Passes a tensor on unchanged, by an operator that no rule of ONNX Runtime matches or removes."""
    return CodecOperator("Max", [value], output)


def cast(value: str, output: str, to: str) -> CodecOperator:
    """Converts to another datatype."""
    return CodecOperator("Cast", [value], output, to=to)


def constant(name: str, value: Array) -> CodecOperator:
    """A constant tensor."""
    return CodecOperator("Constant", [], name, value=value)


def bounded(
    value: str, output: str, limit: float, number: np.dtype[np.generic], opset: int
) -> Iterator[CodecOperator]:
    """Limits a tensor of datatype `number` to -limit ... limit."""
    least, most = f"{output}.least", f"{output}.most"
    yield constant(least, np.array(-limit, number))
    yield constant(most, np.array(limit, number))
    if opset >= _CLIP_BY_INPUT:
        yield CodecOperator("Clip", [value, least, most], output)
        return
    yield CodecOperator("Max", [value, least], f"{output}.below")
    yield CodecOperator("Min", [f"{output}.below", most], output)


def reduced(kind: str, value: str, output: str, axes: list[int], opset: int) -> Iterator[CodecOperator]:
    """Reduces axes to size 1 by ReduceMin, ReduceMax or ReduceSum."""
    if opset < (_SUM_AXES_BY_INPUT if kind == "ReduceSum" else _AXES_BY_INPUT):
        yield CodecOperator(kind, [value], output, {"axes": axes, "keepdims": 1})
        return
    yield constant(f"{output}.axes", np.array(axes, np.int64))
    yield CodecOperator(kind, [value, f"{output}.axes"], output, {"keepdims": 1})
