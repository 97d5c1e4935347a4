"""Accuracy of models that estimate numbers, such as an angle or a depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.metric import LABELS, AccuracyMetric, Outputs
from edge_runtime.tensors import Array


def explained(found: Array, right: Array) -> float:
    """max(0, 1 - MSE / variance): the part of the variance of `right` that `found` explains, [N, ...] each.

    The variance is that about the mean of each element over the N rows. Where it is 0, 1 if both are equal,
    else 0.
    """
    wide = right.astype(np.float64)
    variance = float(((wide - wide.mean(axis=0)) ** 2).mean())
    error = float(((found.astype(np.float64) - wide) ** 2).mean())
    if variance == 0:
        return float(error == 0)
    return max(0.0, 1 - error / variance) if np.isfinite(error) else 0.0


class MeanSquaredError(AccuracyMetric):
    """The mean squared error relative to the variance of the labels, on a scale where 1 is exact."""

    name = "MeanSquaredError"
    wanted = (
        "labels [N, ...]: finite numbers of the shape of the output, or [N] for one number each, that vary"
    )
    outputs = "one output of numbers, of the shape of the labels"

    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[AccuracyMetric, Array | None]:
        labels = arrays.get(LABELS)
        if labels is None or labels.shape[:1] != (count,) or labels.dtype.kind not in "fiu":
            raise self.refusal(LABELS, labels, count)
        if not np.isfinite(labels).all():
            raise BadRequest("validation: some labels are not finite numbers: leave those samples out")
        if not np.ptp(labels, axis=0).any():
            raise BadRequest(
                "validation: labels are the same for all inputs, so no error can be related to their "
                "variance: give samples with different labels"
            )
        return self, labels

    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        if len(outputs) != 1 or outputs[0].dtype.kind not in "fiu":
            return False
        return labels is None or _squeezed(outputs[0]).shape == _squeezed(labels).shape

    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        return explained(_squeezed(outputs[0]), _squeezed(labels))

    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        return explained(outputs[0], others[0])


def _squeezed(array: Array) -> Array:
    """[N] for [N, 1]."""
    return array[:, 0] if array.shape[1:] == (1,) else array


MEAN_SQUARED_ERROR: Final = MeanSquaredError()
