"""The time limit of a hop, and when the fallback starts."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.routing.deadlines import DeadlineAction, Times, allowance, too_busy
from edge_planning.routing.latency_stats import LatencyStats


def _about(seconds: float, fallback_in: float | None, fair: bool) -> Any:
    return (pytest.approx(seconds), fallback_in if fallback_in is None else pytest.approx(fallback_in), fair)


def _allowance(action: DeadlineAction, times: Times, local: LatencyStats | None) -> Any:
    return astuple(allowance(action, times, local))[:3]


def _times(
    elapsed: float = 0.010, slo: float = 0.150, deadline: float = 0.150, predicted: float = 0.050
) -> Times:
    return Times(slo, deadline, elapsed, predicted)


def test_the_hop_may_take_all_but_a_reserve_and_its_fallback_begins_at_the_last_moment() -> None:
    found = _allowance(DeadlineAction.LOCAL_EXIT, _times(), LatencyStats(0.020))
    assert found == _about(0.128, 0.128 - 1.3 * 0.020, True)


def test_a_fallback_that_takes_nearly_all_that_is_left_begins_at_once() -> None:
    found = _allowance(DeadlineAction.LOCAL_EXIT, _times(elapsed=0.030), LatencyStats(0.100))
    assert found == _about(0.108, 0.0, True)


@pytest.mark.parametrize(("local", "expected"), [(0.384, (0.385, 0.0)), (0.386, (0.368, None))])
def test_a_fallback_that_starts_at_once_needs_no_more_than_15_ms_of_reserve(
    local: float, expected: tuple[float, float | None]
) -> None:
    times = _times(elapsed=0.0, slo=0.4, deadline=0.4, predicted=0.1)
    found = _allowance(DeadlineAction.LOCAL_EXIT, times, LatencyStats(local))
    assert found == _about(*expected, True)


def test_where_no_fallback_can_be_in_time_the_hop_gets_what_its_route_is_planned_to_take() -> None:
    found = _allowance(DeadlineAction.LOCAL_EXIT, _times(elapsed=0.040, predicted=0.140), LatencyStats(0.130))
    assert found == _about(1.1 * 0.140 - 0.040, None, True)
    late = _allowance(
        DeadlineAction.LOCAL_EXIT, _times(slo=0.02, deadline=0.02, predicted=0.100), LatencyStats(0.05)
    )
    assert late == _about(0.190, None, True)


def test_an_unsteady_fallback_begins_earlier() -> None:
    steady, unsteady = LatencyStats(0.020), LatencyStats(0.020)
    for i in range(60):
        steady.add(0.020)
        unsteady.add(0.010 if i % 2 else 0.030)
    begins = [
        allowance(DeadlineAction.LOCAL_EXIT, _times(), stats).fallback_in for stats in (steady, unsteady)
    ]
    assert begins[0] == pytest.approx(0.102)
    assert begins[1] is not None
    assert begins[1] < 0.080


def test_a_client_with_a_short_timeout_does_not_make_it_the_hops_fault() -> None:
    assert allowance(DeadlineAction.LOCAL_EXIT, _times(deadline=0.030), LatencyStats(0.005)).fair is False
    assert allowance(DeadlineAction.LOCAL_EXIT, _times(elapsed=0.120), LatencyStats(0.005)).fair is False
    assert allowance(DeadlineAction.LOCAL_EXIT, _times(deadline=0.100), LatencyStats(0.005)).fair is True


@pytest.mark.parametrize(("slo", "seconds"), [(0.1, 1.0), (0.5, 1.0), (0.8, 1.6)])
def test_alone_or_told_to_wait_a_hop_has_twice_the_slo_and_a_second_at_least(
    slo: float, seconds: float
) -> None:
    times = _times(slo=slo, deadline=slo)
    assert _allowance(DeadlineAction.LOCAL_EXIT, times, None) == _about(seconds, None, True)
    assert _allowance(DeadlineAction.WAIT, times, LatencyStats(0.01)) == _about(seconds, None, True)


def test_told_to_fail_the_hop_has_until_the_deadline_and_nothing_is_begun() -> None:
    assert _allowance(DeadlineAction.FAIL, _times(), LatencyStats(0.01)) == _about(0.128, None, True)


@given(
    deadline=st.floats(0.005, 2),
    share=st.floats(0, 0.9),
    predicted=st.floats(0.001, 3),
    mean=st.floats(0.0001, 1),
    deviation=st.floats(0, 0.1),
)
def test_a_fallback_that_takes_no_longer_than_it_should_is_always_in_time(
    deadline: float, share: float, predicted: float, mean: float, deviation: float
) -> None:
    stats, elapsed = LatencyStats(mean, deviation), share * deadline
    found = allowance(DeadlineAction.LOCAL_EXIT, Times(deadline, deadline, elapsed, predicted), stats)
    if found.fallback_in is None:
        assert elapsed + stats.seconds > deadline - max(0.08 * deadline, 0.001) - 1e-9
    elif found.fallback_in > 0:
        assert elapsed + found.fallback_in + stats.most < deadline
        assert elapsed + found.seconds < deadline


def test_once_others_fail_a_hop_has_what_is_planned_and_not_all_that_is_left() -> None:
    assert allowance(DeadlineAction.LOCAL_EXIT, _times(), LatencyStats(0.02)).expected == pytest.approx(
        1.1 * 0.050 - 0.010
    )
    assert allowance(DeadlineAction.LOCAL_EXIT, _times(elapsed=0.1), LatencyStats(0.02)).expected == 0.0


@pytest.mark.parametrize(
    ("within", "wait", "only", "idle", "busy"),
    [
        (0.1, 0.08, False, True, False),
        (0.1, 0.09, False, True, True),
        (0.1, 0.09, True, True, False),  # nothing else can be in time
        (0.1, 0.09, True, False, True),
        (0.1, None, False, False, False),
        (0.0, None, True, True, True),
    ],
)
def test_nothing_is_sent_that_would_arrive_too_late(
    within: float, wait: float | None, only: bool, idle: bool, busy: bool
) -> None:
    assert too_busy(within, wait, 0.015, only=only, idle=idle) is busy
