"""The names, datatypes and shapes of a cut's tensors on a hop, which both sides derive from the codec.

A tensor that a codec encodes crosses as `<name>:<codec>`, and as `<name>:<codec>.<part>` if there are more of
them. Others cross as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np

from edge_api.placements import UNENCODED
from edge_api.words import shown
from edge_runtime.codecs import registry
from edge_runtime.codecs.definitions import Codec, scale_name
from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Array, Tensor

FP32: Final = UNENCODED


def names() -> tuple[str, ...]:
    """Returns the names of all codecs, the one that changes nothing first."""
    return (FP32, *registry.CODECS)


def check_codec(codec: object, field: str = "codec") -> str:
    """Returns the codec's name; BadRequest if there is no such codec."""
    if not isinstance(codec, str) or codec not in names():
        raise BadRequest(f"{field}: {shown(codec)} is not a codec: use one of {', '.join(names())}")
    return codec


def codec_of(name: str) -> Codec | None:
    """Returns the codec with this name; None for fp32. Raises BadRequest if it is unknown."""
    return registry.CODECS.get(check_codec(name))


def form_of(name: str) -> int:
    """Returns the form of a codec's operators; results made with another form are measured again."""
    codec = codec_of(name)
    return 0 if codec is None else codec.form


def forms() -> dict[str, int]:
    """Returns the forms of all codecs by name."""
    return {name: form_of(name) for name in names()}


def check_opset(name: str, opset: int) -> None:
    """Raises BadRequest if a model's opset lacks the operators of a codec."""
    codec = codec_of(name)
    if codec is not None and opset < codec.least_opset:
        raise BadRequest(
            f"codec: {name} needs opset {codec.least_opset} or later, the model has {opset}: "
            f"export it again, or use {FP32}"
        )


def is_encoded(tensor: Tensor, name: str) -> bool:
    """Whether a codec changes a tensor of a cut."""
    codec = codec_of(name)
    return codec is not None and codec.encodes(tensor)


def wire_name(tensor: str, codec: str, taken: Collection[str]) -> str:
    """Returns the name of an encoded tensor.

    No name in `taken` is this name, or this name, a dot and more: such names are free for the codec.
    """
    found = f"{tensor}:{codec}"
    while any(n == found or n.startswith(f"{found}.") for n in taken):
        found += "_"
    return found


def wire_tensors(cut: Sequence[Tensor], codec: str, taken: Collection[str] = ()) -> tuple[Tensor, ...]:
    """Returns the tensors that cross a hop for the tensors of a cut, in order; `taken`: the graph's names."""
    found = codec_of(codec)
    return tuple(t for tensor in cut for t in _encoded(tensor, found, taken))


def without_range(tensors: Sequence[Tensor], arrays: Sequence[Array]) -> str | None:
    """Returns the name on the hop of the first tensor with an item that its codec cannot carry, or None.

    tensors: the outputs of a slice. Such an item is decoded to NaN.
    """
    found = {t.name: array for t, array in zip(tensors, arrays, strict=True)}
    for name in found:
        scales = found.get(scale_name(name))
        codec = name.rpartition(":")[2].rstrip("_")
        if scales is not None and codec in registry.CODECS and not np.isfinite(scales).all():
            return name
    return None


def wire_bytes(cut: Sequence[Tensor], codec: str) -> int:
    """Returns the bytes that cross a hop for one item, if every dimension but the batch is fixed."""
    return sum(t.item_bytes() for t in wire_tensors(cut, codec))


def _encoded(tensor: Tensor, codec: Codec | None, taken: Collection[str]) -> Iterator[Tensor]:
    if codec is None or not codec.encodes(tensor):
        yield tensor
    else:
        yield from codec.wire(tensor, wire_name(tensor.name, codec.name, taken))
