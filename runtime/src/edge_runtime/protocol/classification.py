"""Triton's classification extension: an output's highest values with their indices, as strings."""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_api.words import shown_json
from edge_runtime.errors import BadTensor
from edge_runtime.json_values import Json
from edge_runtime.tensors import Array, Contract, Tensor

DATATYPES: Final = frozenset(
    ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")
)
_MOST_VALUES: Final = 1_000_000  # sorting more would block the event loop for too long; Triton's limit, too


def class_count(value: Json, tensor: Tensor, where: str) -> int:
    """The `classification` parameter of an output: a number of classes; 0 for values. Raises BadTensor."""
    if value is None or (value == 0 and type(value) is int):
        return 0
    if type(value) is not int or not 0 < value < 1 << 32:
        raise BadTensor(
            f"{where}.parameters.classification: {shown_json(value)} is not a number of classes: "
            "write a whole number from 1, or 0 for the values"
        )
    if tensor.datatype not in DATATYPES:
        raise BadTensor(
            f"{where}.parameters.classification: {value}, but {tensor.name} has {tensor.datatype}, "
            "which has no classes: request the values"
        )
    return value


def batches(contract: Contract) -> bool:
    """Whether all inputs and outputs begin with the batch, as Triton's `max_batch_size` means it."""
    tensors = (*contract.inputs, *contract.outputs)
    return all(not t.any_rank and t.shape[:1] == (-1,) for t in tensors) and all(
        t.has_batch for t in contract.inputs
    )


def classified(output: Array, count: int, *, batched: bool) -> Array:
    """Strings `value:index` of the highest values, in descending order; of equal ones, the first index first.

    Shape [batch, classes] if the first dimension is the batch, else [classes]; at most `count` classes.
    Raises BadTensor for an output of more than a million values.
    """
    if output.size > _MOST_VALUES:
        raise BadTensor(
            f"classification: the output has {output.size} values, but the limit is {_MOST_VALUES}: "
            "request the values"
        )
    rows = output.reshape(output.shape[0], -1) if batched and output.shape[0] else output.reshape(1, -1)
    classes = min(count, rows.shape[1])
    found = np.empty((len(rows), classes), dtype=object)
    for row, values in enumerate(rows):
        for place, index in enumerate(_highest(values, classes)):
            value = values[index]
            shown = f"{value:.6f}" if values.dtype.kind == "f" else str(int(value))
            found[row, place] = f"{shown}:{index}"
    return found if batched else found[0]


def _highest(values: Array, count: int) -> Array:
    """Indices of the `count` highest values in descending order; numbers that are not one come last."""
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -np.inf, values)
    if not count:
        return np.empty(0, dtype=np.intp)
    least = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= least)
    # A stable sort of the reversed values, read backwards, leaves equal ones in their order.
    descending = len(candidates) - 1 - np.argsort(values[candidates][::-1], kind="stable")[::-1]
    found: Array = candidates[descending][:count]
    return found
