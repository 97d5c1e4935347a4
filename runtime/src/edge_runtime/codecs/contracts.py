"""Names and contracts of a cut's tensors on a hop, for each codec.

fp32: unchanged. fp16: each floating-point tensor as `<name>:fp16`. int8: each as `<name>:int8` (UINT8) with
`<name>:int8.scale` (FP32) and `<name>:int8.zero` (UINT8), one of each per item of the batch, so that an item
is decoded to the same values in any batch. Tensors of other datatypes, those of fewer than two dimensions and
empty ones are never encoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np

from edge_api.words import shown
from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Array, Tensor, width

FP32: Final = "fp32"
FP16: Final = "fp16"
INT8: Final = "int8"
CODECS: Final = (FP32, FP16, INT8)
FORM: Final = 2
"""Version of the operators that codecs consist of: slices and measurements of another version are rebuilt."""

_FLOATING: Final = ("FP32", "FP16", "FP64")
_MIN_RANK: Final = 2


def check_codec(codec: object, field: str = "codec") -> str:
    """Returns the codec. Raises BadRequest for an unknown one."""
    if not isinstance(codec, str) or codec not in CODECS:
        raise unknown_codec(codec, field)
    return codec


def unknown_codec(codec: object, field: str = "codec") -> BadRequest:
    """The error for an unknown codec."""
    return BadRequest(f"{field}: {shown(codec)} is not a codec: use one of {', '.join(CODECS)}")


def is_encoded(tensor: Tensor, codec: str) -> bool:
    """Whether a codec changes a tensor of a cut."""
    if codec == FP32 or tensor.datatype not in _FLOATING or len(tensor.shape) < _MIN_RANK:
        return False
    if 0 in tensor.shape:
        return False
    return width(tensor.datatype) > 2 or codec == INT8


def wire_name(name: str, codec: str, taken: Collection[str]) -> str:
    """Name of an encoded tensor. No `taken` name equals it, or starts with it and a dot, which the codec uses
    for the tensor's parameters.
    """
    found = f"{name}:{codec}"
    while any(n == found or n.startswith(f"{found}.") for n in taken):
        found += "_"
    return found


def scale_name(wire: str) -> str:
    """Name of the scales of an int8 tensor."""
    return f"{wire}.scale"


def zero_name(wire: str) -> str:
    """Name of the zero points of an int8 tensor."""
    return f"{wire}.zero"


def wire_tensors(cut: Sequence[Tensor], codec: str, taken: Collection[str] = ()) -> tuple[Tensor, ...]:
    """Tensors on the wire for the tensors of a cut, in order; `taken` are the graph's names."""
    return tuple(t for tensor in cut for t in _encoded(tensor, codec, taken))


def without_range(tensors: Sequence[Tensor], arrays: Sequence[Array]) -> str | None:
    """Name on the wire of the first int8 tensor with an item that is not finite; None if all are finite.

    tensors: outputs of a slice. Such an item is decoded to NaN.
    """
    found = {t.name: array for t, array in zip(tensors, arrays, strict=True)}
    for name in found:
        scales = found.get(scale_name(name))
        if scales is not None and zero_name(name) in found and not np.isfinite(scales).all():
            return name
    return None


def wire_bytes(cut: Sequence[Tensor], codec: str) -> int:
    """Bytes on the wire for one item; all dimensions but the batch must be fixed."""
    return sum(t.item_bytes() for t in wire_tensors(cut, codec))


def _encoded(tensor: Tensor, codec: str, taken: Collection[str]) -> Iterator[Tensor]:
    if not is_encoded(tensor, codec):
        yield tensor
        return
    wire = wire_name(tensor.name, codec, taken)
    shape, items, batched = tensor.shape, (tensor.shape[0], 1), tensor.batched
    if codec == FP16:
        yield Tensor(wire, "FP16", shape, batched=batched)
        return
    if codec != INT8:
        raise unknown_codec(codec)
    yield Tensor(wire, "UINT8", shape, batched=batched)
    yield Tensor(scale_name(wire), "FP32", items, batched=batched)
    yield Tensor(zero_name(wire), "UINT8", items, batched=batched)
