"""int8 and int8-per-channel: 8-bit steps of a range, which the encoder computes.

With low = min(0, least value) and high = max(0, greatest value) of a range, scale = high / 255 - low / 255,
zero = round(-low / scale) and q = round(x / scale) + zero, so that 0 stays 0. A range with a value that is
not finite has a scale that is NaN, and so has all that is decoded from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import ClassVar, Final

import numpy as np

from edge_runtime.codecs.definitions import Codec, number_of, scale_name
from edge_runtime.codecs.operators import CodecOperator, cast, constant, reduced
from edge_runtime.tensors import Array, Tensor

_LEVELS: Final = 255.0
_LEAST_SCALE: Final = float(np.finfo(np.float32).tiny)
# Less than a half by more than what single precision loses in 256 steps: no sum is below 0 or reaches 256.
_ROUNDING: Final = 0.498


def zero_name(wire: str) -> str:
    """Returns the name of a tensor's zero points on a hop."""
    return f"{wire}.zero"


class PerItem(Codec):
    """1 byte a value, and 5 bytes an item: one range for each item of the batch.

    Attributes:
        ranged: Number of leading dimensions that have a range for each of their indices.
    """

    name = "int8"
    ranged: ClassVar[int] = 1

    def ranges(self, tensor: Tensor) -> tuple[int, ...]:
        """Returns the shape of the scales and zero points, which has two dimensions."""
        return (tensor.shape[0], 1)

    def wire(self, tensor: Tensor, name: str) -> Iterator[Tensor]:
        ranges = self.ranges(tensor)
        yield Tensor(name, "UINT8", tensor.shape, batched=tensor.batched)
        yield Tensor(scale_name(name), "FP32", ranges, batched=tensor.batched)
        yield Tensor(zero_name(name), "UINT8", ranges, batched=tensor.batched)

    def encoder(self, tensor: Tensor, value: str, name: str, opset: int) -> Iterator[CodecOperator]:
        if tensor.datatype != "FP32":
            yield cast(value, f"{name}.single", "FP32")
            value = f"{name}.single"

        def part(suffix: str) -> str:
            return f"{name}.{suffix}"

        def made(kind: str, inputs: str, output: str) -> CodecOperator:
            return CodecOperator(kind, [part(suffix) for suffix in inputs.split()], part(output))

        for suffix, number in (
            ("nothing", 0.0),
            ("one", 1.0),
            ("levels", _LEVELS),
            ("least", _LEAST_SCALE),
            ("half", 0.5),
            ("rounding", _ROUNDING),
        ):
            yield constant(part(suffix), np.array(number, np.float32))
        axes = list(range(self.ranged, len(tensor.shape)))
        yield from reduced("ReduceMin", value, part("lowest"), axes, opset)
        yield from reduced("ReduceMax", value, part("highest"), axes, opset)
        yield made("Min", "lowest nothing", "low")
        yield made("Max", "highest nothing", "high")
        # Each divided before they are subtracted: their difference can be beyond single precision.
        yield made("Div", "low levels", "below")
        yield made("Div", "high levels", "above")
        yield made("Sub", "above below", "span")
        yield made("Max", "span least", "step")
        yield made("Div", "one step", "inverse")
        yield made("Mul", "low inverse", "lift")
        yield made("Sub", "half lift", "lifted")
        yield made("Floor", "lifted", "offset")
        yield made("Sum", "offset rounding", "raise")
        yield CodecOperator("Mul", [value, part("inverse")], part("steps"))
        yield made("Sum", "steps raise", "raised")
        yield cast(part("raised"), name, "UINT8")
        # 0, or NaN if a value is not finite: the least and the greatest of them do not tell.
        yield from reduced("ReduceSum", part("raised"), part("total"), axes, opset)
        yield made("Mul", "total nothing", "flaw")
        yield made("Sum", "step flaw", "checked")
        yield constant(part("row"), np.array([0] * self.ranged + [1] * (2 - self.ranged), np.int64))
        yield CodecOperator("Reshape", [part("checked"), part("row")], scale_name(name))
        yield cast(part("offset"), part("nought"), "UINT8")
        yield CodecOperator("Reshape", [part("nought"), part("row")], zero_name(name))

    def decoder(self, tensor: Tensor, name: str) -> Iterator[CodecOperator]:
        broadcast = [0] * self.ranged + [1] * (len(tensor.shape) - self.ranged)
        yield constant(f"{name}.item", np.array(broadcast, np.int64))
        yield CodecOperator("Reshape", [scale_name(name), f"{name}.item"], f"{name}.step")
        yield CodecOperator("Reshape", [zero_name(name), f"{name}.item"], f"{name}.nought")
        yield cast(f"{name}.nought", f"{name}.offset", "FP32")
        yield cast(name, f"{name}.steps", "FP32")
        yield CodecOperator("Sub", [f"{name}.steps", f"{name}.offset"], f"{name}.raised")
        yield CodecOperator("Mul", [f"{name}.raised", f"{name}.step"], f"{name}.single")
        if tensor.datatype != "FP32":
            yield cast(f"{name}.single", f"{name}.value", tensor.datatype)

    def decoded(self, tensor: Tensor, wire: Sequence[Array]) -> Array:
        values, scale, zero = wire
        shape = (*values.shape[: self.ranged], *[1] * (len(tensor.shape) - self.ranged))
        offset = zero.reshape(shape).astype(np.float32)
        found: Array = ((values.astype(np.float32) - offset) * scale.reshape(shape)).astype(number_of(tensor))
        return found


class PerChannel(PerItem):
    """1 byte a value, and 5 bytes a channel: one range for each index of the second dimension of each item.

    Keeps small channels apart from large ones. Tensors of fewer than three dimensions, of open sizes, and
    those whose channels are so small that nothing is saved, cross as they are.
    """

    name = "int8-per-channel"
    ranged = 2

    def ranges(self, tensor: Tensor) -> tuple[int, ...]:
        return tensor.shape[:2]

    def encodes(self, tensor: Tensor) -> bool:
        known = len(tensor.shape) > self.ranged and all(size > 0 for size in tensor.shape[1:])
        if not known or not super().encodes(tensor):
            return False
        return prod(tensor.shape[1:]) + 5 * tensor.shape[1] < tensor.item_bytes()
