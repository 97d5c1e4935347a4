"""An inference response: its outputs, how they were computed, and how confident they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_runtime.tensors import Array, Tensor

_MOST_CLASSES: Final = 4096
_SUM_ERROR: Final = 1e-3
_SCORES: Final = frozenset(("FP16", "FP32", "FP64"))


# One is made for each request, and making a frozen one takes longer.
@dataclass(slots=True)
class InferenceResponse:
    """Arrays in the order of the requested outputs, and the response's parameters.

    accuracy: a cached response may replace a computation whose accuracy is no higher than this.
    tensors: what the arrays are, if the client named no outputs and the exit has others than the model.
    """

    outputs: Sequence[Array]
    parameters: Mapping[str, str | bool | float]
    accuracy: float = 1.0
    tensors: Sequence[Tensor] | None = None


def has_classes(tensor: Tensor) -> bool:
    """Whether an output can have a confidence: a row of scores of classes for each item of the batch."""
    if not tensor.batched or tensor.datatype not in _SCORES:
        return False
    classes = tensor.shape[1] if len(tensor.shape) == 2 else -1
    return (tensor.any_rank or len(tensor.shape) == 2) and (classes < 0 or 2 <= classes <= _MOST_CLASSES)


def reused(response: InferenceResponse) -> bool:
    """Whether a response is an earlier one, by the result cache or the input filter."""
    return bool(response.parameters.get("cached") or response.parameters.get("filtered"))


def rowwise(output: Array, inputs: Iterable[Array]) -> bool:
    """Whether an output has as many rows as an input, like the output of a batch."""
    return output.shape[:1] in {array.shape[:1] for array in inputs}


def confidence(output: Array, *, items: bool = True) -> float | None:
    """Probability of the likeliest class, of the least certain item of a batch.

    output: shape [batch, classes], logits or probabilities. Returns None for other outputs: integers,
    scalars, empty batches. items: whether its rows are known to be those of the batch, unlike detected boxes;
    returns None if not.
    """
    found = confidences(output) if items else None
    if found is None:
        return None
    least = float(found.min())
    return round(least, 4) if np.isfinite(least) else None


def confidences(output: Array) -> Array | None:
    """The share of belief in the likeliest class by item [batch]; None as for `confidence`."""
    if output.ndim != 2 or output.dtype.kind != "f":
        return None
    if not output.shape[0] or not 2 <= output.shape[1] <= _MOST_CLASSES:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        wide = output.astype(np.float32, copy=False)
        if wide.min() >= 0 and np.abs(wide.sum(axis=1) - 1).max() < _SUM_ERROR:
            most: Array = wide.max(axis=1)
            return most
        # The likeliest class's share is 1 over the sum of e^(others - it).
        shares: Array = 1 / np.exp(wide - wide.max(axis=1, keepdims=True)).sum(axis=1)
        return shares
