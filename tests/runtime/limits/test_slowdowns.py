"""How much slower stages run than at their warm-up, from runs of different lengths."""

from __future__ import annotations

import pytest

from edge_runtime.inference.slowdowns import Followed, Slowdown


class _Session:
    """A session whose warm-up took `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.warm_seconds = seconds
        self.followed: Followed | None = None


class _Case:
    """Sessions of 100 ms and 1 ms, and one without a warm-up."""

    def __init__(self) -> None:
        self.slowdown: Slowdown[_Session] = Slowdown()
        self.long, self.short, self.cold = (_Session(seconds) for seconds in (0.1, 0.001, 0.0))
        for session in (self.long, self.short, self.cold):
            self.slowdown.follow(session)

    def run(self, session: _Session, seconds: float, now: float) -> dict[_Session, float]:
        """The expected times that one run changes."""
        self.slowdown.add(session, seconds, now)
        return dict(self.slowdown.changes()) if self.slowdown.stepped else {}


def test_before_any_run_and_without_a_warm_up_nothing_counts_as_slow() -> None:
    case = _Case()
    assert case.run(case.cold, 5.0, 0.0) == {}
    assert case.slowdown.factor == 1.0


def test_others_are_expected_to_be_slower_by_the_same_factor_and_those_that_run_are_not_touched() -> None:
    case = _Case()
    changed: dict[_Session, float] = {}
    for second in range(40):
        changed |= case.run(case.long, 0.3, float(second))
    assert case.slowdown.factor == pytest.approx(3.0, rel=0.01)
    assert changed == {case.short: pytest.approx(0.003, rel=0.1)}


def test_a_burst_of_short_runs_outweighs_no_long_one() -> None:
    case = _Case()
    for second in range(40):
        case.run(case.long, 0.3, float(second))
    for _ in range(40):
        case.run(case.short, 0.001, 39.01)
    assert case.slowdown.factor > 2.6


def test_after_seconds_short_runs_show_that_the_node_is_free_again() -> None:
    case = _Case()
    for second in range(40):
        case.run(case.long, 0.3, float(second))
    expected: dict[_Session, float] = {}
    for tenth in range(100):
        expected |= case.run(case.short, 0.001, 40 + tenth / 10)
    assert case.slowdown.factor == pytest.approx(1.0, rel=0.1)
    assert expected == {case.long: pytest.approx(0.1, rel=0.1)}


def test_a_warm_up_on_a_slow_node_is_not_taken_for_that_of_a_free_one() -> None:
    case = _Case()
    for second in range(40):
        case.run(case.long, 0.3, float(second))
    late = _Session(0.06)
    case.slowdown.follow(late)
    assert late.followed is not None
    assert late.followed.alone == pytest.approx(0.02, rel=0.01)


def test_expected_times_change_in_steps_of_a_tenth() -> None:
    case = _Case()
    assert case.run(case.long, 0.14, 0.0) == {}  # by 0.2 x 40 %
    assert case.run(case.long, 0.14, 1.0) == {case.short: pytest.approx(0.00114, rel=0.01)}
    assert case.run(case.long, 0.14, 2.0) == {}


def test_a_single_stalled_run_changes_little() -> None:
    case = _Case()
    case.run(case.long, 0.1, 0.0)
    case.run(case.long, 50.0, 1.0)
    assert case.slowdown.factor == pytest.approx(1.2)
