"""Which share of labeled samples leaves at each exit by a confidence threshold, and how accurate they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from edge_runtime.store.accuracies.metric import AccuracyMetric, Outputs
from edge_runtime.store.accuracy_metrics import METRICS
from edge_runtime.tensors import Array

THRESHOLDS: Final = (*(round(0.5 + 0.05 * n, 2) for n in range(10)), 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Thresholds that are measured: closer where few inputs more leave."""


def exit_confidences(
    answers: Mapping[str, Outputs], labels: Array, metric: AccuracyMetric = METRICS[0]
) -> list[dict[str, Any]]:
    """Returns for each threshold the share of samples that leave at each exit, and their accuracy.

    answers: outputs by exit, from the earliest to the last, which takes what is left. An exit at
    which none leaves has the accuracy of all samples. Empty if there is one exit, or an output has no
    confidence.
    """
    *early, last = answers
    rated = all(metric.takes(outputs, labels) for outputs in answers.values())
    sure = {exit_: metric.confidences(answers[exit_]) for exit_ in early} if rated else {}
    if not sure or any(found is None for found in sure.values()):
        return []
    measured = []
    for threshold in THRESHOLDS:
        left, exits = np.ones(len(labels), dtype=np.bool_), []
        for exit_, outputs in answers.items():
            found = sure.get(exit_)
            leaving = left if exit_ == last or found is None else left & (found >= threshold)
            chosen = leaving if leaving.any() else np.ones_like(leaving)
            accuracy = metric.accuracy([output[chosen] for output in outputs], labels[chosen])
            exits.append({"exit": exit_, "share": float(leaving.mean()), "accuracy": accuracy})
            left = left & ~leaving
        measured.append({"threshold": threshold, "exits": exits})
    return measured
