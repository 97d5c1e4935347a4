"""The registry of accuracy metrics, by which `validation.metric` names them. A metric is added here."""

from __future__ import annotations

from typing import Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest
from edge_runtime.json_values import Json
from edge_runtime.store.accuracies.boxes import MEAN_AVERAGE_PRECISION
from edge_runtime.store.accuracies.classes import AGREEMENT, TOP_1
from edge_runtime.store.accuracies.metric import AccuracyMetric
from edge_runtime.store.accuracies.text import CHARACTER_ERROR_RATE, WORD_ERROR_RATE
from edge_runtime.store.accuracies.values import MEAN_SQUARED_ERROR

METRICS: Final[tuple[AccuracyMetric, ...]] = (
    TOP_1,
    MEAN_AVERAGE_PRECISION,
    WORD_ERROR_RATE,
    CHARACTER_ERROR_RATE,
    MEAN_SQUARED_ERROR,
    AGREEMENT,
)
"""The first one is the default."""


def metric_named(name: Json) -> AccuracyMetric:
    """Returns the metric of this name, the default for None. Raises BadRequest for another name."""
    if name is None:
        return METRICS[0]
    for metric in METRICS:
        if metric.name == name:
            return metric
    known = ", ".join(metric.name for metric in METRICS)
    raise BadRequest(f"validation.metric: {shown(name)} is not a metric: write one of {known}")
