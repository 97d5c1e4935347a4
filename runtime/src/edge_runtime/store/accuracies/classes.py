"""Accuracy of classifiers, and agreement with the full model where there are no labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from edge_runtime.responses import confidences
from edge_runtime.store.accuracies.metric import LABELS, AccuracyMetric, Outputs, ragged, rows_of
from edge_runtime.store.accuracies.values import explained
from edge_runtime.tensors import Array


class Top1(AccuracyMetric):
    """The share of inputs for which the greatest output is that of the right class."""

    name = "Accuracy"
    wanted = "labels [N]: one whole number for each input, that of the right class"
    outputs = "one output with one number for each class, [N, classes]"

    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[AccuracyMetric, Array | None]:
        labels = arrays.get(LABELS)
        if labels is None or labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise self.refusal(LABELS, labels, count)
        return self, labels

    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        return len(outputs) == 1 and outputs[0].ndim == 2 and outputs[0].dtype.kind in "fiu"

    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        return float((outputs[0].argmax(1) == labels).mean())

    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        return float((outputs[0].argmax(1) == others[0].argmax(1)).mean())

    def confidences(self, outputs: Outputs) -> Array | None:
        return confidences(outputs[0])


class Agreement(AccuracyMetric):
    """How far an exit agrees with the full model, by its least agreeing output.

    Outputs [N, classes] of two or more floating-point numbers agree in the class with the greatest one;
    integers, booleans and texts agree row by row; other numbers as MeanSquaredError with the full model's
    values as labels.
    """

    name = "Agreement"
    arrays = ()
    wanted = "no array but inputs"
    outputs = "as many outputs as the full model, of the same types"

    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[AccuracyMetric, Array | None]:
        return self, None

    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        if labels is None:
            return True
        first: tuple[Array, ...] = labels[0]
        return len(first) == len(outputs) and all(
            np.asarray(found[0]).dtype.kind == right.dtype.kind
            for found, right in zip(outputs, first, strict=True)
        )

    def reference(self, outputs: Outputs) -> Array:
        """One tuple of the full model's outputs for each input."""
        return ragged(list(zip(*(rows_of(each) for each in outputs), strict=True)))

    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        columns = zip(*labels, strict=True)
        return min(_alike(found, list(right)) for found, right in zip(outputs, columns, strict=True))

    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        return self.accuracy(outputs, self.reference(others))

    def confidences(self, outputs: Outputs) -> Array | None:
        return confidences(outputs[0]) if len(outputs) == 1 else None


def _alike(found: Array, right: list[Array]) -> float:
    rows = rows_of(found)
    if found.dtype.kind == "f":
        if found.ndim == 2 and found.shape[1] > 1:
            return float(np.mean([a.argmax() == b.argmax() for a, b in zip(rows, right, strict=True)]))
        if found.shape[1:] == right[0].shape:
            return explained(found, np.stack(right))
        return 0.0
    return float(np.mean([np.array_equal(a, b) for a, b in zip(rows, right, strict=True)]))


TOP_1: Final = Top1()
AGREEMENT: Final = Agreement()
