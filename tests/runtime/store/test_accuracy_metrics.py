"""Each metric on outputs and labels whose accuracy is known, and data that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.boxes import MEAN_AVERAGE_PRECISION
from edge_runtime.store.accuracies.classes import AGREEMENT, TOP_1
from edge_runtime.store.accuracies.metric import AccuracyMetric, ragged
from edge_runtime.store.accuracies.text import CHARACTER_ERROR_RATE, WORD_ERROR_RATE
from edge_runtime.store.accuracies.values import MEAN_SQUARED_ERROR
from edge_runtime.store.accuracy_metrics import METRICS, metric_named
from edge_runtime.tensors import Array
from messages import mentions

LETTERS = ["", "a", "b", " "]


def spelled(*texts: str) -> Array:
    """Scores [N, steps, classes] of a CTC model that gives these letters, `_` for the blank."""
    numbers = np.array([["_ab ".index(letter) for letter in text] for text in texts])
    scores: Array = np.eye(len(LETTERS), dtype=np.float32)[numbers]
    return scores


def read(metric: AccuracyMetric, count: int = 2, **arrays: Any) -> tuple[AccuracyMetric, Array]:
    found, labels = metric.read({name: np.asarray(array) for name, array in arrays.items()}, count)
    assert labels is not None
    return found, labels


def boxed(*corners: float, score: float = 0.9, kind: int = 0) -> list[float]:
    return [*corners, score, kind]


SQUARE, OTHER = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
BOXES: dict[str, Any] = {"boxes": [SQUARE, OTHER], "classes": [0, 0], "images": [0, 1]}


def test_the_names_of_metrics_and_the_default() -> None:
    assert metric_named(None) is TOP_1
    assert [metric_named(each.name) for each in METRICS] == list(METRICS)
    with pytest.raises(BadRequest, match=mentions("validation.metric", '"F1"', "WordErrorRate")):
        metric_named("F1")


def test_the_share_of_right_classes_and_of_agreement() -> None:
    outputs = [np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)]
    metric, labels = read(TOP_1, labels=[1, 1])
    assert metric.accuracy(outputs, labels) == 0.5
    assert metric.agreement(outputs, [-outputs[0]]) == 0.0
    assert not metric.takes([outputs[0][:, 0]])
    assert not metric.takes([outputs[0], outputs[0]])


def test_a_squared_error_is_related_to_the_variance_of_the_labels() -> None:
    metric, labels = read(MEAN_SQUARED_ERROR, 4, labels=[0.0, 0.0, 2.0, 2.0])
    outputs = [np.array([[0.5], [0.5], [1.5], [1.5]], np.float32)]
    assert metric.takes(outputs, labels)
    assert metric.accuracy(outputs, labels) == 1 - 0.25 / 1.0
    assert metric.accuracy([outputs[0] + 90], labels) == 0.0
    assert metric.accuracy([outputs[0] * np.nan], labels) == 0.0
    assert metric.agreement(outputs, outputs) == 1.0
    assert not metric.takes([np.zeros((4, 2), np.float32)], labels)


def test_the_variance_of_labels_is_that_of_each_element() -> None:
    """Otherwise a model that gives the mean of two elements with different means would seem right."""
    labels = np.array([[0.0, 100.0], [2.0, 102.0]])
    metric, labels = read(MEAN_SQUARED_ERROR, labels=labels)
    assert metric.accuracy([np.array([[1.0, 101.0], [1.0, 101.0]])], labels) == 0.0


@pytest.mark.parametrize(
    ("metric", "accuracy"),
    [(WORD_ERROR_RATE, 1 - 1 / 3), (CHARACTER_ERROR_RATE, 1 - 1 / 6)],
)
def test_an_error_rate_is_that_of_all_texts_together(metric: AccuracyMetric, accuracy: float) -> None:
    found, labels = read(metric, labels=["ab a", "bb"], alphabet=LETTERS)
    outputs = [spelled("_aab _a", "_b_____")]
    assert found.takes(outputs, labels)
    assert found.accuracy(outputs, labels) == pytest.approx(accuracy)
    assert found.accuracy([np.array([[1, 2, 3, 1], [2, 0, 0, 0]])], labels) == pytest.approx(accuracy)
    assert found.accuracy([np.array(["ab a", "b"], object)], labels) == pytest.approx(accuracy)
    assert found.agreement(outputs, outputs) == 1.0


def test_an_error_rate_above_one_is_an_accuracy_of_zero() -> None:
    metric, labels = read(WORD_ERROR_RATE, labels=["a", ""])
    assert metric.accuracy([np.array(["b b b", "a"], object)], labels) == 0.0


def test_a_repeated_letter_needs_a_blank_between_and_a_token_does_not() -> None:
    metric, labels = read(CHARACTER_ERROR_RATE, labels=["aa", "a"], alphabet=LETTERS)
    assert metric.accuracy([spelled("a_a", "aa_")], labels) == 1.0
    assert metric.accuracy([np.array([[1, 1], [1, 0]])], labels) == 1.0


def test_scores_of_other_classes_than_the_alphabets_cannot_be_compared() -> None:
    metric, labels = read(WORD_ERROR_RATE, labels=["a", "b"], alphabet=["", "a"])
    assert not metric.takes([spelled("a", "b")], labels)
    without, labels = read(WORD_ERROR_RATE, labels=["a", "b"])
    assert not without.takes([spelled("a", "b")], labels)


def test_mean_average_precision_is_that_of_coco() -> None:
    metric, labels = read(MEAN_AVERAGE_PRECISION, **BOXES)
    right = [np.array([[boxed(*SQUARE)], [boxed(*OTHER)]], np.float32)]
    assert metric.takes(right, labels)
    assert metric.accuracy(right, labels) == pytest.approx(1.0)
    # An IoU of 0.8 counts at the thresholds 0.50 to 0.80, seven of ten.
    near = [np.array([[boxed(0, 0, 10, 8)], [boxed(50, 50, 60, 58)]], np.float32)]
    assert metric.accuracy(near, labels) == pytest.approx(0.7)
    other_class = [np.array([[boxed(*SQUARE, kind=1)], [boxed(*OTHER)]], np.float32)]
    assert metric.accuracy(other_class, labels) == pytest.approx(51 / 101, abs=1e-3)
    assert metric.agreement(near, near) == pytest.approx(1.0)


def test_the_forms_of_a_detectors_outputs_give_the_same() -> None:
    metric, labels = read(MEAN_AVERAGE_PRECISION, **BOXES)
    boxes = np.array([[SQUARE, OTHER], [OTHER, SQUARE]], np.float32)
    scores = np.array([[0.9, 0.0], [0.8, 0.0]], np.float32)  # a score of 0 fills up the rows
    classes = np.zeros((2, 2), np.int64)
    by_class = np.stack([scores, scores / 2], axis=2)
    forms: list[list[Array]] = [[boxes, scores], [boxes, scores, classes], [boxes, by_class]]
    for outputs in forms:
        assert metric.takes(outputs)
        assert metric.accuracy(outputs, labels) == pytest.approx(1.0)
    rows = ragged([np.array([boxed(*SQUARE)]), np.zeros((0, 6))])
    assert metric.takes([rows])
    assert 0 < metric.accuracy([rows], labels) < 1
    assert not metric.takes([scores, boxes])
    assert not metric.takes([boxes])


def test_a_detector_that_finds_nothing_agrees_with_one_that_finds_nothing() -> None:
    nothing = [ragged([np.zeros((0, 6)), np.zeros((0, 6))])]
    something = [np.array([[boxed(*SQUARE)], [boxed(*OTHER)]], np.float32)]
    assert MEAN_AVERAGE_PRECISION.agreement(nothing, nothing) == 1.0
    assert MEAN_AVERAGE_PRECISION.agreement(something, nothing) == 0.0
    assert MEAN_AVERAGE_PRECISION.agreement(nothing, something) == 0.0


def test_agreement_is_that_of_the_least_agreeing_output() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6], [0.9, 0.1]], np.float32)
    kinds, depth = np.array([1, 2, 3, 4]), np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    whole = [scores, kinds, depth]
    metric, labels = AGREEMENT.read({}, 4)
    assert labels is None
    labels = metric.reference(whole)
    assert metric.accuracy(whole, labels) == 1.0
    assert metric.accuracy([np.roll(scores, 1, axis=0), kinds, depth], labels) == 0.5
    assert metric.accuracy([scores, np.array([1, 2, 3, 5]), depth], labels) == 0.75
    assert metric.accuracy([scores, kinds, depth + 0.5], labels) == pytest.approx(1 - 0.25 / 1.25)
    assert metric.takes(whole, labels)
    assert not metric.takes([scores], labels)
    assert not metric.takes([kinds, kinds, depth], labels)


@pytest.mark.parametrize(
    ("metric", "arrays", "parts"),
    [
        (TOP_1, {"labels": np.zeros(2, np.float32)}, ("labels are float32 [2]", "Accuracy", "whole number")),
        (MEAN_SQUARED_ERROR, {"labels": ["a", "b"]}, ("labels are <U1 [2]", "numbers")),
        (MEAN_SQUARED_ERROR, {"labels": [1.0, np.inf]}, ("labels", "finite")),
        (MEAN_SQUARED_ERROR, {"labels": [2.0, 2.0]}, ("labels", "variance", "different")),
        (WORD_ERROR_RATE, {"labels": [0, 1]}, ("labels are int64 [2]", "text")),
        (WORD_ERROR_RATE, {"labels": ["", " "]}, ("labels", "empty")),
        (WORD_ERROR_RATE, {"labels": ["a", "b"], "alphabet": [[1]]}, ("alphabet are int64 [1, 1]",)),
        (MEAN_AVERAGE_PRECISION, {}, ("boxes are missing", "MeanAveragePrecision", "x1, y1, x2, y2")),
        (MEAN_AVERAGE_PRECISION, BOXES | {"boxes": np.zeros((2, 5))}, ("boxes are float64 [2, 5]",)),
        (MEAN_AVERAGE_PRECISION, BOXES | {"classes": [0]}, ("classes are int64 [1]",)),
        (MEAN_AVERAGE_PRECISION, BOXES | {"images": [0, 2]}, ("images are 0 to 2", "2 inputs", "0 to 1")),
        (MEAN_AVERAGE_PRECISION, BOXES | {"boxes": [SQUARE, SQUARE[::-1]]}, ("boxes", "x1 < x2")),
    ],
)
def test_data_that_a_metric_cannot_read_is_refused(
    metric: AccuracyMetric, arrays: dict[str, Any], parts: tuple[str, ...]
) -> None:
    with pytest.raises(BadRequest, match=mentions("validation", *parts)):
        read(metric, **arrays)
