"""The confidence of a response."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.responses import confidence


def test_logits_and_probabilities_of_the_same_belief_are_equally_sure() -> None:
    logits = np.array([[2.0, 0.0, 0.0]], np.float32)
    share = np.exp(logits) / np.exp(logits).sum()
    assert confidence(logits) == pytest.approx(0.787, abs=1e-4)
    assert confidence(share.astype(np.float32)) == confidence(logits)


def test_a_batch_is_as_sure_as_its_least_sure_item() -> None:
    assert confidence(np.array([[9.0, 0.0], [0.0, 0.0]], np.float32)) == 0.5


def test_large_logits_do_not_overflow() -> None:
    assert confidence(np.array([[3e38, -3e38, 0.0]], np.float32)) == 1.0


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 1), np.float32),
        np.zeros((2, 3, 4), np.float32),
        np.zeros((1, 10), np.int64),
        np.zeros((1, 5000), np.float32),
        np.array([["a", "b"]], dtype=object),
        np.array([[np.nan, 1.0]], np.float32),
        np.array([[np.inf, np.inf]], np.float32),
        np.zeros((0, 6), np.float32),
        np.zeros((3, 0), np.float32),
        np.float32(0.5).reshape(()),
        np.zeros(7, np.float32),
    ],
    ids=str,
)
def test_an_output_that_is_not_a_choice_between_classes_has_no_confidence(
    output: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> None:
    assert confidence(output) is None


def test_rows_that_are_not_those_of_the_batch_have_none() -> None:
    assert confidence(np.array([[0.9, 0.1]], np.float32), items=True) == 0.9
    assert confidence(np.array([[0.9, 0.1]], np.float32), items=False) is None
