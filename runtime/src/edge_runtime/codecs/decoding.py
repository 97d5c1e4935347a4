"""Decoding by NumPy, with which the decoders of slices are compared."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.codecs.contracts import codec_of
from edge_runtime.tensors import Array, Tensor


def decoded(cut: Sequence[Tensor], codec: str, wire: Sequence[Array]) -> dict[str, Array]:
    """Returns the tensors of a cut by name, from those on the hop in the order of `wire_tensors`."""
    found, rest, made = codec_of(codec), list(wire), dict[str, Array]()
    for tensor in cut:
        if found is None or not found.encodes(tensor):
            made[tensor.name] = rest.pop(0)
        else:
            count = len(list(found.wire(tensor, tensor.name)))
            made[tensor.name] = found.decoded(tensor, rest[:count])
            del rest[:count]
    return made
