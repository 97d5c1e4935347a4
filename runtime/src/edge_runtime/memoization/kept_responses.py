"""Responses as the filter and the cache keep them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edge_runtime.answers import Answer
from edge_runtime.tensors import Array

_OVERHEAD: Final = 512  # bytes of what is kept beside the arrays, about


def owned(answer: Answer, outputs: bool = True) -> Answer:
    """The response with arrays of its own: a view would keep the whole batch or body that it refers to."""
    kept = [a if a.base is None else a.copy() for a in answer.outputs] if outputs else []
    return replace(answer, outputs=kept)


def size_of_answer(answer: Answer) -> int:
    """About how many bytes it holds."""
    return _OVERHEAD + sum(map(_size, answer.outputs))


def _size(array: Array) -> int:
    if array.dtype.kind != "O":
        return array.nbytes
    return sum(64 + len(value) for value in array.ravel())
