"""Checks that a model computes the same result for an item in a batch as for the item alone.

Not every model with a batch dimension does: one that normalizes over the batch, quantizes by the range of the
whole batch, attends across items or folds them into a fixed shape gives other results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from edge_runtime.tensors import Array

# Relative to the largest value of an output: the most by which a different order of sums changes it.
_TOLERANCE: Final = 1e-5
_ROUNDINGS: Final = 8.0
_SHRINK: Final = 0.37  # makes the ranges of two items differ, for models that quantize by the range


def counterpart(feeds: Mapping[str, Array]) -> dict[str, Array] | None:
    """Another item of the same shapes, made of this item's values so that it is likely to be valid.

    None if no useful one can be made: every input is constant and not floating point, or some values are not
    finite.
    """
    if not all(map(_finite, feeds.values())):
        return None
    made = {name: _other(array) for name, array in feeds.items()}
    differs = any(not np.array_equal(made[name], array) for name, array in feeds.items())
    return made if differs else None


def same_results(apart: Sequence[Sequence[Array]], together: Sequence[Array]) -> bool | None:
    """Whether the outputs of a batched run equal those of the items' own runs, row by row.

    None if the items' outputs are not finite: then nothing can be compared.
    """
    if not all(_finite(output) for outputs in apart for output in outputs):
        return None
    for outputs in zip(*apart, together, strict=True):
        *parts, whole = outputs
        if any(part.ndim == 0 for part in parts) or whole.ndim == 0:
            return False
        expected = np.concatenate(parts)
        if expected.shape != whole.shape or expected.dtype != whole.dtype or not _same(expected, whole):
            return False
    return True


def _other(array: Array) -> Array:
    turned = array.reshape(-1)[::-1].reshape(array.shape)
    if not np.issubdtype(array.dtype, np.floating):
        return np.ascontiguousarray(turned)
    ramp = np.linspace(0.0, 1.0, array.size).reshape(array.shape)
    step = _SHRINK * (float(np.max(np.abs(array), initial=0.0)) or 1.0)
    return np.ascontiguousarray((_SHRINK * turned + step * ramp).astype(array.dtype))


def _finite(array: Array) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def _same(expected: Array, found: Array) -> bool:
    if not np.issubdtype(expected.dtype, np.floating):
        return bool(np.array_equal(expected, found))
    largest = float(np.max(np.abs(expected), initial=0.0))
    close = max(_TOLERANCE, _ROUNDINGS * float(np.finfo(expected.dtype).eps)) * largest
    return bool(np.allclose(expected, found, rtol=0.0, atol=close))
