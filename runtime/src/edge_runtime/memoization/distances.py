"""Distance between inputs that is insensitive to a camera's noise, but not to a moving object.

Images are compared by the means of their blocks, about 16 x 16 in each channel: the root mean square
difference, over the range of the reference's block means. 0.02 is thus 2 % of the image's contrast. An object
that fills a share s of the image, at least a block, and differs from the background by c of its contrast
contributes c * sqrt(s); a mean of absolute differences would show only c * s. The noise of pixels averages
out in the blocks.

Squared differences, of the whole image or by its blocks, are the difference detectors of NoScope (Kang,
Emmons, Abuzaid, Bailis, Zaharia, VLDB 2017), which learns weights for the blocks; here blocks are compared by
their means and weigh the same. Reducto (Li et al., SIGCOMM 2020) also shows that inexpensive differences of
frames avoid most inferences; it adapts the threshold, which is a setting here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

from edge_runtime.tensors import Array

BLOCKS: Final = 16  # of an image's height and width
_CHANNELS: Final = 4  # maximum, if they are the last axis
_NEAR_KINDS: Final = tuple(map(np.dtype, ("float32", "float16", "float64", "uint8", "int8")))
_DIGEST: Final = 16


class TensorSketch:
    """Summary of one input.

    values: means of blocks, [planes, blocks], for images; all values of other numeric inputs; None for the
    rest, such as strings, which are compared by `digest`.
    """

    __slots__ = ("digest", "form", "picture", "scale", "values")

    def __init__(
        self, form: Form, values: Array | None = None, *, picture: bool = False, digest: bytes = b""
    ) -> None:
        self.form, self.values, self.picture, self.digest = form, values, picture, digest
        self.scale: Array | None = None

    def scales(self) -> Array:
        """1 / range of block means squared, for each plane; computed when it is first a reference."""
        if self.scale is None:
            assert self.values is not None
            span = np.maximum.reduce(self.values, axis=1) - np.minimum.reduce(self.values, axis=1)
            with np.errstate(divide="ignore"):
                self.scale = 1 / np.square(span)
        return self.scale


Form = tuple[np.dtype[Any], tuple[int, ...]]
Sketch = Mapping[str, TensorSketch]


def sketch(inputs: Mapping[str, Array]) -> Sketch:
    """Summary of inputs by name, for distances to other inputs."""
    with np.errstate(all="ignore"):
        return {name: _part(array) for name, array in inputs.items()}


def size_of(inputs: Sketch) -> int:
    """Approximate size of a sketch in bytes."""
    return sum(256 + (part.values.nbytes if part.values is not None else 0) for part in inputs.values())


def distance(reference: Sketch, new: Sketch) -> float | None:
    """Maximum distance of all inputs and items, 0 or more; None if their shapes or datatypes differ.

    NaN or infinite, which is below no threshold, if either has values that are not finite, or if the
    reference has a single color and the other does not.
    """
    if reference.keys() != new.keys() or any(reference[n].form != part.form for n, part in new.items()):
        return None
    farthest = 0.0
    with np.errstate(all="ignore"):
        for name, part in new.items():
            far = _apart(reference[name], part)
            if not far <= farthest:  # written so that a NaN is kept
                farthest = far
    return farthest


def _apart(old: TensorSketch, new: TensorSketch) -> float:
    if old.values is None or new.values is None:
        return 0.0 if old.digest == new.digest else 1.0
    apart = old.values - new.values
    if not old.picture:
        larger = np.maximum(np.abs(old.values), np.abs(new.values))
        return float(np.max(np.where(apart == 0, 0, np.abs(apart) / larger)))
    square = np.add.reduce(apart * apart, axis=1)
    if not square.any():
        return 0.0
    worst = float(np.maximum.reduce(np.where(square == 0, 0, square * old.scales())))
    return math.sqrt(worst / apart.shape[1])


def _part(array: Array) -> TensorSketch:
    form = array.dtype, array.shape
    if array.dtype not in _NEAR_KINDS or array.size == 0:
        return TensorSketch(form, digest=digest({"": array}, b""))
    kind = np.float64 if array.dtype.itemsize == 8 else np.float32
    if array.ndim < 3:
        return TensorSketch(form, array.astype(kind))  # a copy: the array is a view of the request's body
    return TensorSketch(form, _block_means(array, kind), picture=True)


def _block_means(array: Array, kind: type) -> Array:
    """[planes, blocks] of [..., height, width] or [..., height, width, channels]."""
    *_, height, width = shape = array.shape
    channels = 1
    if width <= _CHANNELS < shape[-2]:
        *_, height, width, channels = shape
    tall, starts, inverse = _grid(height, width, kind)
    rows = array.reshape(-1, height, width * channels)
    # Sums columns of whole rows first: four times as fast as both axes at once.
    whole = height - height % tall
    sums = np.add.reduce(rows[:, :whole].reshape(len(rows), -1, tall, width * channels), axis=2, dtype=kind)
    if whole < height:
        rest = np.add.reduce(rows[:, whole:], axis=1, dtype=kind, keepdims=True)
        sums = np.concatenate([sums, rest], axis=1)
    if channels > 1:
        sums = sums.reshape(*sums.shape[:2], width, channels).transpose(0, 3, 1, 2)
    means: Array = np.add.reduceat(sums, starts, axis=-1) * inverse
    return means.reshape(-1, inverse.size)


@lru_cache(maxsize=64)
def _grid(height: int, width: int, kind: type) -> tuple[int, Array, Array]:
    """Height of a block, the first column of each block, and 1 / number of pixels of each."""
    tall, wide = -(-height // BLOCKS), -(-width // BLOCKS)
    down, across = np.arange(0, height, tall), np.arange(0, width, wide)
    counts = np.outer(np.minimum(height - down, tall), np.minimum(width - across, wide))
    return tall, across, (1 / counts).astype(kind)


def digest(inputs: Mapping[str, Array], key: bytes) -> bytes:
    """16-byte digest of the inputs; with a secret key, collisions cannot be constructed."""
    hashed = hashlib.blake2b(key=key, digest_size=_DIGEST)
    for name in sorted(inputs):
        array = inputs[name]
        if array.dtype.kind == "O":
            words = [str(value).encode() for value in array.ravel()]
            described = (name, "BYTES", [len(word) for word in words], array.shape)
            array = np.frombuffer(b"".join(words), np.uint8)
        else:
            described = (name, array.dtype.name, [], array.shape)
        hashed.update(repr(described).encode())
        hashed.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hashed.digest()
