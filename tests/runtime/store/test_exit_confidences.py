"""Where labeled samples leave by a confidence threshold."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.responses import confidence, confidences
from edge_runtime.store.exit_confidences import THRESHOLDS, exit_confidences
from edge_runtime.tensors import Array


def logits(*sure: float, classes: int = 4) -> Array:
    """One row for each confidence in class 0."""
    shares = np.array(sure)[:, None]
    others = np.repeat((1 - shares) / (classes - 1), classes - 1, axis=1)
    found: Array = np.log(np.concatenate([shares, others], axis=1)).astype(np.float32)
    return found


def test_inputs_leave_at_the_first_exit_that_is_sure_enough() -> None:
    answers = {
        "exit1": [logits(0.97, 0.72, 0.4, 0.4)],
        "exit2": [logits(0.97, 0.97, 0.72, 0.4)],
        "final": [logits(0.9, 0.9, 0.9, 0.9)],
    }
    labels = np.array([0, 1, 0, 0])
    found = {each["threshold"]: each["exits"] for each in exit_confidences(answers, labels)}
    assert list(found) == list(THRESHOLDS)
    assert [e["share"] for e in found[0.7]] == [0.5, 0.25, 0.25]
    assert [e["accuracy"] for e in found[0.7]] == [0.5, 1.0, 1.0]
    assert [e["share"] for e in found[0.95]] == [0.25, 0.25, 0.5]
    assert [e["share"] for e in found[0.999]] == [0.0, 0.0, 1.0]
    assert found[0.999][0]["accuracy"] == 0.75


def test_the_share_of_a_batch_is_that_of_its_least_certain_item() -> None:
    output = logits(0.9, 0.6)
    assert confidences(output) == pytest.approx([0.9, 0.6], abs=1e-4)
    assert confidence(output) == pytest.approx(0.6, abs=1e-4)


def test_a_model_with_one_exit_or_without_classes_has_no_confidences() -> None:
    labels = np.array([0, 0])
    assert exit_confidences({"final": [logits(0.9, 0.9)]}, labels) == []
    boxes = np.zeros((2, 3, 4), dtype=np.float32)
    assert exit_confidences({"exit1": [boxes], "final": [logits(0.9, 0.9)]}, labels) == []
