"""The token bucket that limits the bytes of probes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.links.probe_budgets import (
    LEAST,
    LEAST_AN_HOUR,
    MOST,
    OVERHEAD,
    RAREST,
    RAREST_DOWN,
    SPAN,
    TINY,
    Allowed,
    Budget,
    Why,
    allowed,
    full,
    resized,
    returned,
    saved,
    spent,
)

MI = 1 << 20


def _idle_hour(an_hour: float, hours: int = 3, interval: float = 2.0) -> list[tuple[float, int]]:
    """The probes of an idle link in the last of this many hours: (second, bytes)."""
    budget, now, last, sent = full(an_hour, 0.0), 0.0, 0.0, []
    while now < 3600 * hours:
        now += 0.1
        found = allowed(budget, now, Why.IDLE, MOST, interval)
        if now - last >= found.interval:
            budget, last = spent(budget, found.size, now), now
            sent.append((now, found.size))
    return [(at, size) for at, size in sent if at > 3600 * (hours - 1)]


@pytest.mark.parametrize("an_hour", [1 * MI, 4 * MI, 16 * MI])
def test_an_idle_link_costs_what_the_budget_says_and_no_more(an_hour: float) -> None:
    cost = sum(size + OVERHEAD for _, size in _idle_hour(an_hour))
    assert 0.9 * an_hour < cost <= 1.02 * an_hour


def test_a_full_budget_changes_nothing() -> None:
    assert allowed(full(16 * MI, 0.0), 0.0, Why.IDLE, MOST, 2.0) == Allowed(MOST, 2.0)


def test_sixteen_mi_an_hour_keep_the_interval_with_smaller_probes() -> None:
    probes = _idle_hour(16 * MI)
    assert len(probes) > 0.9 * 1800
    assert {size >= LEAST for _, size in probes if size != TINY} == {True}
    assert sum(size for _, size in probes) / len(probes) < 10_000


def test_below_they_become_rarer_but_still_measure() -> None:
    measuring = [at for at, size in _idle_hour(1 * MI) if size >= LEAST]
    assert 90 < len(measuring) < 125
    assert max(b - a for a, b in itertools.pairwise(measuring)) < 60


@pytest.mark.parametrize("an_hour", [0.0, 1000.0, 256 * 1024.0])
def test_they_never_end_altogether_and_measure_every_few_minutes(an_hour: float) -> None:
    measuring = [at for at, size in _idle_hour(an_hour) if size >= LEAST]
    assert max(b - a for a, b in itertools.pairwise(measuring)) < 300
    moments = [at for at, _ in _idle_hour(an_hour)]
    assert max(b - a for a, b in itertools.pairwise(moments)) <= RAREST + 0.2
    assert sum(size + OVERHEAD for _, size in _idle_hour(an_hour)) <= 1.05 * LEAST_AN_HOUR


def test_a_question_may_use_the_reserve() -> None:
    low = Budget(16 * MI, 0.2 * 16 * MI * SPAN / 3600, 0.0)
    assert allowed(low, 0.0, Why.IDLE, MOST, 2.0) == Allowed(TINY, RAREST)
    assert allowed(low, 0.0, Why.QUESTION, MOST, 2.0) == Allowed(MOST, 0.0)
    empty = Budget(16 * MI, 0.0, 0.0)
    assert allowed(empty, 0.0, Why.QUESTION, MOST, 2.0) == Allowed(TINY, RAREST_DOWN)


def test_a_link_that_came_back_is_measured_at_once_and_may_overdraw_the_bucket_for_a_while() -> None:
    budget = full(16 * MI, 0.0)
    assert returned(spent(budget, MOST, 0.0), MOST, 0) == budget
    assert returned(spent(budget, MOST, 0.0), MOST, 10_000).saved == budget.size - 10_000 - OVERHEAD


def test_a_link_that_is_down_is_probed_at_its_own_interval_while_the_budget_lasts() -> None:
    assert allowed(full(16 * MI, 0.0), 0.0, Why.DOWN, MOST, 0.5) == Allowed(TINY, 0.5)
    assert allowed(Budget(16 * MI, 0.0, 0.0), 0.0, Why.DOWN, MOST, 0.5) == Allowed(TINY, RAREST_DOWN)


@given(
    st.floats(0, 1e9),
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from(Why), st.integers(1, MOST)), max_size=60),
)
def test_sizes_and_intervals_stay_in_bounds_and_the_bucket_is_hardly_overdrawn(
    an_hour: float, steps: list[tuple[float, Why, int]]
) -> None:
    budget, now = full(an_hour, 0.0), 0.0
    for pause, why, wanted in steps:
        now += pause
        before = saved(budget, now)
        found = allowed(budget, now, why, wanted, 2.0)
        assert 0 < found.size <= max(wanted, TINY)
        assert (0.0 if why in (Why.QUESTION, Why.UNKNOWN) else 2.0) <= found.interval <= RAREST
        budget = spent(budget, found.size, now)
        overdrawn = wanted if why is Why.UNKNOWN and before > -budget.size else TINY
        assert budget.saved >= min(0.0, before) - overdrawn - OVERHEAD
        assert saved(budget, now) <= budget.size


@given(st.floats(LEAST_AN_HOUR, 64 * MI), st.floats(0, 64 * MI), st.floats(0, 3600), st.integers(0, 4 * MI))
def test_another_budget_for_a_link_keeps_what_is_saved_and_gives_nothing_more(
    before: float, after: float, elapsed: float, size: int
) -> None:
    budget = spent(full(before, 0.0), size, 0.0)
    changed = resized(budget, after, elapsed)
    assert changed.an_hour == max(after, LEAST_AN_HOUR)
    assert saved(changed, elapsed) <= saved(budget, elapsed)
    assert saved(changed, elapsed) <= changed.size
    assert saved(resized(budget, before, elapsed), elapsed) == pytest.approx(saved(budget, elapsed))
