"""Accuracy metrics: what the share of right responses means for a kind of labels. A metric is added here.

The first metric whose labels the validation data has is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from edge_runtime.errors import BadRequest
from edge_runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class AccuracyMetric:
    """One metric, for N samples.

    Attributes:
        labels: What the labels must be, as in `labels are ...; write ...`.
        outputs: What the output of an exit must be, as in `... are measured for models that give ...`.
        takes: takes(labels, N) is whether the labels are of its kind.
        rates: rates(outputs) is whether the outputs of an exit can be compared with such labels.
        right: right(outputs, labels) is the share of samples whose output is right, from 0 to 1.
        alike: alike(outputs, others) is the share of samples on which two outputs agree, from 0 to 1.
    """

    name: str
    labels: str
    outputs: str
    takes: Callable[[Array, int], bool]
    rates: Callable[[Array], bool]
    right: Callable[[Array, Array], float]
    alike: Callable[[Array, Array], float]


TOP_1: Final = AccuracyMetric(
    "top-1",
    labels="one whole number for each, that of the right class",
    outputs="one number for each class",
    takes=lambda labels, count: labels.shape == (count,) and labels.dtype.kind in "iu",
    rates=lambda outputs: outputs.ndim == 2,
    right=lambda outputs, labels: float((outputs.argmax(1) == labels).mean()),
    alike=lambda outputs, others: float((outputs.argmax(1) == others.argmax(1)).mean()),
)
"""The greatest output is that of the right class."""

METRICS: Final = (TOP_1,)


def metric_of(labels: Array, count: int, metrics: Collection[AccuracyMetric] = METRICS) -> AccuracyMetric:
    """Returns the metric for the labels of `count` inputs. Raises BadRequest if none takes them."""
    for metric in metrics:
        if metric.takes(labels, count):
            return metric
    wanted = "; or ".join(metric.labels for metric in metrics)
    raise BadRequest(
        f"validation: labels are {labels.dtype} {list(labels.shape)} for {count} inputs; write {wanted}"
    )
