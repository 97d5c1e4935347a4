"""Generated values of an input, by its datatype and shape, to measure a model without samples."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor


def generated(tensor: Tensor, shape: Sequence[int], indices: int | None = None) -> Array:
    """Values in a shape, the same for the same input each time.

    Floating-point numbers lie between 0 and 1, bytes (UINT8) between 0 and 255, other integers are 1, or lie
    below `indices`, the number of values that the model can look up; booleans are true, texts empty. Zeros
    would be unusual: they end divisions, and are faster than others where processors skip them.
    """
    kind = NUMPY_TYPES[tensor.datatype]
    random = np.random.default_rng(zlib.crc32(tensor.name.encode()))
    if tensor.datatype == "BYTES":
        return np.full(shape, "", dtype=kind)
    if tensor.datatype == "BF16":  # kept as the upper half of the bits of a 32-bit number
        return (random.random(shape, dtype=np.float32).view(np.uint32) >> 16).astype(kind)
    if tensor.datatype == "BOOL":
        return np.ones(shape, dtype=kind)
    if indices is not None and kind.kind in "iu":
        most = min(indices, int(np.iinfo(kind).max))
        return random.integers(0, most, shape).astype(kind)
    if tensor.datatype == "UINT8":
        return random.integers(0, 256, shape).astype(kind)
    if kind.kind in "iu":
        return np.ones(shape, dtype=kind)
    return random.random(shape, dtype=np.float32).astype(kind)


def resized(array: Array, shape: Sequence[int]) -> Array:
    """A sample in another shape of the same rank: repeated where that is larger, cropped where smaller."""
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            places = np.arange(size) % max(array.shape[axis], 1)
            array = np.take(array, places, axis=axis)
    return array
