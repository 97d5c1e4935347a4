"""How long a hop may take before the local route answers in its place."""

from __future__ import annotations

import pytest

from edge_runtime.dataplane import patience


def test_the_local_route_is_left_its_time_and_a_reserve() -> None:
    waited = patience(slo=0.150, predicted=0.050, local=0.020, elapsed=0.010)
    assert waited == pytest.approx(0.150 - 0.010 - 1.3 * 0.020 - 0.08 * 0.150)


def test_a_route_is_given_what_it_is_planned_to_take_even_if_no_time_is_left_for_another() -> None:
    assert patience(slo=0.150, predicted=0.120, local=0.100, elapsed=0.040) == pytest.approx(0.132 - 0.040)


def test_a_hop_is_given_a_fair_try() -> None:
    assert patience(slo=0.200, predicted=0.020, local=0.180, elapsed=0.010) == pytest.approx(0.050)


def test_a_route_that_is_planned_to_be_late_is_waited_for() -> None:
    assert patience(slo=0.020, predicted=0.100, local=0.050, elapsed=0.010) == pytest.approx(0.190)


@pytest.mark.parametrize(("slo", "seconds"), [(0.1, 1.0), (0.5, 1.0), (0.8, 1.6)])
def test_without_a_local_route_it_is_waited_for_twice_the_slo_and_a_second_at_least(
    slo: float, seconds: float
) -> None:
    assert patience(slo, 0.05, None, 0.01) == pytest.approx(seconds)
