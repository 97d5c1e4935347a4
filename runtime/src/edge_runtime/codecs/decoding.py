"""Decodes tensors on a hop without onnxruntime: the reference for the decoders of slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_runtime.codecs.contracts import FP16, INT8, is_encoded, unknown_codec
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor


def decoded(cut: Sequence[Tensor], codec: str, wire: Sequence[Array]) -> dict[str, Array]:
    """Tensors of a cut by name, from those on the wire in the order of `wire_tensors`."""
    rest = iter(wire)
    return {tensor.name: _decoded(tensor, codec, rest) for tensor in cut}


def _decoded(tensor: Tensor, codec: str, wire: Iterator[Array]) -> Array:
    values = next(wire)
    if not is_encoded(tensor, codec):
        return values
    kind = NUMPY_TYPES[tensor.datatype]
    if codec == FP16:
        return values.astype(kind)
    if codec != INT8:
        raise unknown_codec(codec)
    item = (-1, *[1] * (len(tensor.shape) - 1))
    scale, zero = next(wire).reshape(item), next(wire).reshape(item)
    found: Array = ((values.astype(np.float32) - zero.astype(np.float32)) * scale).astype(kind)
    return found
