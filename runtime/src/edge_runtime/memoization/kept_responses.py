"""Responses in the form in which the filter and the cache keep them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edge_runtime.responses import InferenceResponse
from edge_runtime.tensors import Array

_OVERHEAD: Final = 512  # approximate bytes in addition to the arrays


def owned(response: InferenceResponse, *, outputs: bool = True) -> InferenceResponse:
    """The response with copies of its arrays: a view would keep the whole batch or body in memory."""
    kept = [a if a.base is None else a.copy() for a in response.outputs] if outputs else []
    return replace(response, outputs=kept)


def size_of_response(response: InferenceResponse) -> int:
    """Approximate size of a response in bytes."""
    return _OVERHEAD + sum(map(_size, response.outputs))


def _size(array: Array) -> int:
    if array.dtype.kind != "O":
        return array.nbytes
    return sum(64 + len(value) for value in array.ravel())
