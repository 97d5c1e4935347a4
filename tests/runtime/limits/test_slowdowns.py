"""How much slower stages run than at their warm-up, from runs of different lengths."""

from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.inference.slowdowns import Slowdown


class _Session:
    """A session whose warm-up took `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.warm_seconds = seconds


LONG, SHORT, UNKNOWN = (_Session(seconds) for seconds in (0.1, 0.001, 0.0))


def _followed() -> Any:
    """Sessions of 100 ms and 1 ms, and one without a warm-up."""
    slowdown: Any = Slowdown()
    for session in (LONG, SHORT, UNKNOWN):
        slowdown.follow(session)
    return slowdown


def test_before_any_run_and_without_a_warm_up_nothing_counts_as_slow() -> None:
    slowdown = _followed()
    slowdown.add(UNKNOWN, 5.0, 0.0)
    assert slowdown.factor == 1.0
    assert dict(slowdown.changes()) == {}


def test_others_are_expected_to_be_slower_by_the_same_factor_and_those_that_run_are_not_touched() -> None:
    slowdown = _followed()
    changed: dict[Any, float] = {}
    for second in range(40):
        slowdown.add(LONG, 0.3, float(second))
        changed |= dict(slowdown.changes())
    assert slowdown.factor == pytest.approx(3.0, rel=0.15)
    assert changed == {SHORT: pytest.approx(0.003, rel=0.15)}


def test_a_burst_of_short_runs_outweighs_no_long_one() -> None:
    slowdown = _followed()
    for second in range(40):
        slowdown.add(LONG, 0.3, float(second))
    before = slowdown.factor
    for _ in range(40):
        slowdown.add(SHORT, 0.001, 39.01)
    assert before > slowdown.factor > 0.85 * before


def test_after_seconds_short_runs_show_that_the_node_is_free_again() -> None:
    slowdown = _followed()
    for second in range(40):
        slowdown.add(LONG, 0.3, float(second))
    dict(slowdown.changes())
    expected: dict[Any, float] = {}
    for tenth in range(200):
        slowdown.add(SHORT, 0.001, 40 + tenth / 10)
        expected |= dict(slowdown.changes())
    assert slowdown.factor == pytest.approx(1.0, rel=0.15)
    assert expected[LONG] == pytest.approx(0.1, rel=0.25)


def test_expected_times_change_in_steps_of_a_tenth() -> None:
    slowdown = _followed()
    slowdown.add(LONG, 0.14, 0.0)  # 0.2 x 40 %
    assert dict(slowdown.changes()) == {}
    slowdown.add(LONG, 0.14, 1.0)
    assert SHORT in dict(slowdown.changes())
    assert dict(slowdown.changes()) == {}
