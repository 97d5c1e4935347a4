"""Attainment, burn rate, and a verdict that chance does not turn to and fro."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.attainment import attained, burn_rate, judged


def test_without_requests_nothing_is_known() -> None:
    assert attained(0, 0) is None
    assert burn_rate(0, 0, 0.95) is None
    assert judged(0, 0, 0.95, before=False) is None


@pytest.mark.parametrize(("met", "rate"), [(100, 0.0), (95, 1.0), (90, 2.0), (0, 20.0)])
def test_a_burn_rate_of_one_uses_exactly_the_budget(met: int, rate: float) -> None:
    assert burn_rate(100, met, 0.95) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("met", "before", "now"), [(95, True, True), (94, True, False), (95, None, True), (94, None, False)]
)
def test_an_objective_is_met_exactly_up_to_its_share(met: int, before: bool | None, now: bool) -> None:
    assert judged(100, met, 0.95, before=before) is now


def test_a_missed_objective_needs_a_margin_of_one_standard_deviation() -> None:
    assert judged(10_000, 9_500, 0.95, before=False) is False
    assert judged(10_000, 9_522, 0.95, before=False) is False
    assert judged(10_000, 9_523, 0.95, before=False) is True  # 500 - sqrt(500) misses
    assert judged(10, 10, 0.95, before=False) is True


@given(st.integers(1, 10**6), st.data(), st.floats(0.01, 0.999))
def test_what_is_met_after_a_miss_is_met_without_one(
    requests: int, data: st.DataObject, share: float
) -> None:
    met = data.draw(st.integers(0, requests))
    if judged(requests, met, share, before=False):
        assert judged(requests, met, share, before=True)


def test_independent_requests_at_the_edge_turn_the_verdict_less_often_with_hysteresis() -> None:
    chance = random.Random(7)
    samples = [sum(chance.random() < 0.95 for _ in range(300)) for _ in range(500)]

    def turns(*, hysteresis: bool) -> int:
        verdict, count = True, 0
        for met in samples:
            now = judged(300, met, 0.95, before=verdict if hysteresis else None)
            count += now is not verdict
            verdict = bool(now)
        return count

    assert turns(hysteresis=True) < 0.5 * turns(hysteresis=False)
