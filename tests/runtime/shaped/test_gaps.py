"""Delays of clients by a switch of tables, from the times of responses."""

from __future__ import annotations

from itertools import accumulate

import pytest

from benchmarks.runtime.gaps import Turn, described, gaps, spans_like
from benchmarks.runtime.quantiles import in_ms, quantile


def _moments(*milliseconds: float) -> list[float]:
    return [ms / 1e3 for ms in accumulate(milliseconds, initial=0.0)]


def test_the_gap_of_a_switch_counts_from_the_last_answer_before_it() -> None:
    moments = _moments(1, 1, 9, 1, 1, 1)
    assert max(gaps(moments, (2, 5))) == pytest.approx(0.009)
    assert max(gaps(moments, (3, 6))) == pytest.approx(0.001)


def test_spans_without_a_switch_are_as_long_and_lie_one_behind_the_other() -> None:
    moments = _moments(5, *[1] * 20)
    assert spans_like(moments, (1, 21), [0.0035, 0.0065, 0.0015]) == [(1, 5), (5, 12), (12, 14)]


def test_there_are_only_as_many_spans_as_there_are_answers_for() -> None:
    moments = _moments(*[1] * 10)
    assert spans_like(moments, (0, 6), [0.0025, 0.0025, 0.0025]) == [(0, 3), (3, 6)]


def test_one_bad_moment_among_many_switches_is_the_most_and_none_of_the_other_quantiles() -> None:
    """100 switches of 5 ms, one of which the machine delays by 40 ms; then as long without."""
    each = [2.0, 1.0, 1.0, 1.0]
    moments = _moments(*each * 60, 40.0, *each * 40, *[1.0] * 600)
    begins = [4 * i for i in range(60)] + [240] + [241 + 4 * i for i in range(39)]
    ends = [*begins[1:], begins[-1] + 4]
    found = described(moments, [Turn((0, 401), list(zip(begins, ends, strict=True)), (402, 1000))])
    assert found["gap_of_a_switch_ms"] == {"p50": 2.0, "p90": 2.0, "p99": 2.0, "most": 40.0}
    assert found["gap_without_a_switch_ms"] == {"p50": 1.0, "p90": 1.0, "p99": 1.0, "most": 1.0}
    assert found["longest_gap_ms"] == 40.0
    assert found["longest_gap_by_switches_ms"] == 39.0


def test_a_switch_in_which_nothing_was_answered_has_no_gap() -> None:
    found = described(_moments(1, 1, 1, 1), [Turn((0, 2), [(1, 1)], (2, 4))])
    assert found["gap_of_a_switch_ms"] == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "most": 0.0}


def test_quantiles_are_nearest_ranks() -> None:
    assert [quantile(range(1, 101), share) for share in (0.5, 0.9, 0.99, 0.999)] == [50, 90, 99, 100]
    assert in_ms([0.004, 0.001, 0.003, 0.002]) == {"p50": 2.0, "p90": 4.0, "p99": 4.0, "most": 4.0}
    assert in_ms([]) == {}
