"""Classical models of ai.onnx.ml, in which an item is a row of features."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.graph_analysis.rules.registry import CLASSICAL, Result, Step, apart, rule
from edge_runtime.graph_analysis.values import Mixes


@rule("Binarizer", "Imputer", "Normalizer", "Scaler", domain=CLASSICAL)
def features(step: Step) -> Sequence[Result]:
    """Each row separately."""
    apart(step.value(), [step.value().rank - 1], "reads features")
    return [step.same_results()]


@rule("LinearRegressor", "TreeEnsembleRegressor", domain=CLASSICAL)
def regressor(step: Step) -> Sequence[Result]:
    """Numbers for each row."""
    value = step.value()
    _table(step)
    return [value.shaped((value.shape[0], step.unknowns.fresh()), value.axis)]


@rule("LinearClassifier", "TreeEnsembleClassifier", domain=CLASSICAL)
def classifier(step: Step) -> Sequence[Result]:
    """A class for each row, and the score of each class."""
    value = step.value()
    _table(step)
    if any("strings" in name for name in step.operator.attributes):
        raise Mixes("creates strings")
    return [
        value.shaped(value.shape[:1], value.axis),
        value.shaped((value.shape[0], step.unknowns.fresh()), value.axis),
    ]


def _table(step: Step) -> None:
    value = step.value()
    if value.rank != 2 or value.axis not in (None, 0):
        raise Mixes("its rows are not the first axis")
    if step.attribute("aggregate_function", "SUM") not in ("SUM", "AVERAGE", "MIN", "MAX"):
        raise Mixes("its aggregate is not known")
