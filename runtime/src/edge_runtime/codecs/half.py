"""fp16: half precision. Values beyond the largest finite half become that value instead of infinity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_runtime.codecs.definitions import Codec, number_of
from edge_runtime.codecs.operators import CodecOperator, bounded, cast
from edge_runtime.tensors import Array, Tensor, width


class Half(Codec):
    """2 bytes a value."""

    name = "fp16"
    largest = float(np.finfo(np.float16).max)

    def encodes(self, tensor: Tensor) -> bool:
        return super().encodes(tensor) and width(tensor.datatype) > 2

    def wire(self, tensor: Tensor, name: str) -> Iterator[Tensor]:
        yield Tensor(name, "FP16", tensor.shape, batched=tensor.batched)

    def encoder(self, tensor: Tensor, value: str, name: str, opset: int) -> Iterator[CodecOperator]:
        yield from bounded(value, f"{name}.bounded", self.largest, number_of(tensor), opset)
        yield cast(f"{name}.bounded", name, "FP16")

    def decoder(self, tensor: Tensor, name: str) -> Iterator[CodecOperator]:
        yield cast(name, f"{name}.value", tensor.datatype)

    def decoded(self, tensor: Tensor, wire: Sequence[Array]) -> Array:
        return wire[0].astype(number_of(tensor))
