"""Which requests of a service are within the rate that the plan counts with."""

from __future__ import annotations

import pytest

from edge_runtime.inference.planned_rates import PlannedRate


def test_without_a_rate_all_requests_are_within_the_plan() -> None:
    planned = PlannedRate()
    assert not any(planned.beyond(0.0) for _ in range(1000))


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1.0, 2), (4.0, 8)])
def test_requests_of_two_seconds_may_come_at_once_and_at_least_one(rate: float, burst: int) -> None:
    planned = PlannedRate(rate)
    assert [planned.beyond(5.0) for _ in range(burst + 2)] == [False] * burst + [True] * 2


def test_at_ten_times_the_rate_a_tenth_is_within_the_plan() -> None:
    planned = PlannedRate(4.0)
    within = sum(not planned.beyond(n / 40) for n in range(4000))
    assert within == pytest.approx(400, abs=8)


def test_at_the_rate_every_request_is_within_the_plan() -> None:
    planned = PlannedRate(4.0)
    assert not any(planned.beyond(n / 4) for n in range(1000))
