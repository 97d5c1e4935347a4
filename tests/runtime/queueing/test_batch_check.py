"""Conclusions of a batch check from the results of two items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_runtime.inference.batch_check import counterpart, same_results


def _row(*values: float, dtype: Any = np.float32) -> Any:
    return np.array([values], dtype)


@pytest.mark.parametrize(
    ("one", "two", "together", "verdict"),
    [
        (_row(1.0, 2.0), _row(3.0, 4.0), [[1.0, 2.0], [3.0, 4.0]], True),
        (_row(1.0, 2.0), _row(3.0, 4.0), [[1.0, 2.00003], [3.0, 4.0]], True),  # of 4, less than 1e-5
        (_row(1.0, 2.0), _row(3.0, 4.0), [[1.0, 2.00005], [3.0, 4.0]], False),
        (_row(1.0, 2.0), _row(3.0, 4.0), [[3.0, 4.0], [1.0, 2.0]], False),
        (_row(1.0, 2.0), _row(3.0, 4.0), [[1.0, 2.0]], False),
        (_row(1.0, np.inf), _row(3.0, 4.0), [[1.0, np.inf], [3.0, 4.0]], None),
        (_row(1.0, 2.0), _row(3.0, 4.0), [[1.0, 2.0], [3.0, np.nan]], False),
        (_row(0.0, 0.0), _row(0.0, 0.0), [[0.0, 0.0], [0.0, 0.0]], True),
    ],
)
def test_answers_agree_within_what_another_order_of_sums_makes(
    one: Any, two: Any, together: Any, verdict: bool | None
) -> None:
    assert same_results([[one], [two]], [np.array(together, np.float32)]) is verdict


def test_whole_numbers_words_and_halves_have_their_own_tolerance() -> None:
    def verdict(dtype: Any, found: list[list[Any]]) -> bool | None:
        first, second = np.array([[1, 2]], dtype), np.array([[3, 4]], dtype)
        return same_results([[first], [second]], [np.array(found, dtype)])

    assert verdict(np.int64, [[1, 2], [3, 4]]) is True
    assert verdict(np.int64, [[1, 2], [3, 5]]) is False
    assert verdict(np.float16, [[1, 2.03], [3, 4]]) is True  # eight roundings of 4
    assert verdict(np.float16, [[1, 2.05], [3, 4]]) is False
    words = np.array([["a"], ["b"]], object)
    assert same_results([[words[:1]], [words[1:]]], [words]) is True


def test_a_counterpart_differs_and_has_another_range() -> None:
    values = np.random.default_rng(1).normal(size=(1, 3, 8)).astype(np.float32)
    other = counterpart({"x": values})
    assert other is not None
    assert other["x"].shape == values.shape
    assert other["x"].dtype == values.dtype
    assert np.ptp(other["x"]) != pytest.approx(np.ptp(values), rel=0.05)
    zeros = counterpart({"x": np.zeros((1, 4), np.float32)})
    assert zeros is not None
    assert np.ptp(zeros["x"]) > 0.3


def test_whole_numbers_and_words_stay_those_that_came() -> None:
    feeds = {"ids": np.array([[3, 1, 2]], np.int64), "words": np.array([["a", "b"]], object)}
    other = counterpart(feeds)
    assert other is not None
    assert other["ids"].tolist() == [[2, 1, 3]]
    assert other["words"].tolist() == [["b", "a"]]


@pytest.mark.parametrize("values", [np.array([[7, 7]]), np.array([[1.0, np.nan]]), np.array([[np.inf, 1.0]])])
def test_what_would_tell_nothing_is_not_tried(values: Any) -> None:
    assert counterpart({"x": values}) is None
