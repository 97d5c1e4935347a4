"""The estimate of a link's bandwidth from noisy transfers."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from math import inf
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning.links.estimates import (
    LOW,
    Estimate,
    LinkView,
    RateSample,
    add,
    contradicts,
    low_at,
    sample_of,
    started,
)

JITTER = 0.006
RATES = [20e6, 4e6, 1e6, 0.25e6]


def _transfer(rate: float, size: int, at: float, rng: random.Random) -> RateSample:
    """A transfer timed by a throttled node: the link's time, plus up to 5 ms of its own in two of three."""
    late = rng.uniform(0.0, 0.005) if rng.random() < 0.66 else 0.0
    sample = sample_of(size, 8 * size / rate + late, JITTER, at)
    assert sample is not None
    return sample


def _follow(estimate: Estimate, rate: float, size: int, count: int, rng: random.Random) -> list[Estimate]:
    start = max(estimate.at, 0.0)
    found = []
    for i in range(count):
        estimate = add(estimate, _transfer(rate, size, start + 0.125 * (i + 1), rng))
        found.append(estimate)
    return found


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [16 << 10, 64 << 10])
def test_a_steady_link_is_known_within_a_quarter_after_a_second(rate: float, size: int) -> None:
    for seed in range(20):
        for estimate in _follow(Estimate(), rate, size, 40, random.Random(seed))[8:]:
            assert estimate.rate == pytest.approx(rate, rel=0.25)


@pytest.mark.parametrize("before", RATES)
@pytest.mark.parametrize("after", RATES)
def test_a_step_is_followed_within_four_transfers(before: float, after: float) -> None:
    for seed in range(10):
        rng = random.Random(seed)
        steady = _follow(Estimate(), before, 16 << 10, 30, rng)[-1]
        stepped = _follow(steady, after, 16 << 10, 10, rng)
        for estimate in stepped[3:]:
            assert estimate.rate == pytest.approx(after, rel=0.3), (seed, before, after)


def test_a_single_transfer_that_was_held_up_changes_nothing() -> None:
    steady = _follow(Estimate(), 4e6, 16 << 10, 20, random.Random(1))[-1]
    held_up = add(steady, RateSample(steady.at + 0.1, 0.4e6, 0.5e6))
    assert held_up.rate == pytest.approx(4e6, rel=0.15)


def test_an_estimate_starts_from_what_another_runtime_measured() -> None:
    estimate = started(20e6, 15e6, 7.0)
    assert estimate.rate == pytest.approx(20e6)
    assert estimate.at == 7.0
    assert low_at(estimate, 8.0) == pytest.approx(15e6)
    assert low_at(started(20e6, 30e6, 7.0), 8.0) == pytest.approx(20e6)
    unknown = started(20e6, None, 7.0)
    assert unknown.low is not None
    assert unknown.low < 20e6
    steps = add(add(estimate, RateSample(8.0, 5e6, 5.2e6, 0.1)), RateSample(9.0, 5e6, 5.2e6, 0.1))
    assert steps.rate == pytest.approx(5e6, rel=0.1)


def test_what_was_long_ago_counts_little_when_new_ones_come() -> None:
    estimate = Estimate()
    for i in range(6):
        estimate = add(estimate, RateSample(0.1 * i, 9e6, 10e6))
    for i in range(3):
        estimate = add(estimate, RateSample(100.0 + 2 * i, 8e6, 8.1e6))
    assert estimate.rate == pytest.approx(8.1e6, rel=0.02)


def test_a_time_within_the_jitter_gives_no_upper_bound() -> None:
    sample = sample_of(1000, 0.004, JITTER, 0.0)
    assert sample == RateSample(0.0, 2e6, inf, 0.004)
    assert sample_of(1000, 0.0, JITTER, 0.0) is None


def test_only_a_whole_interval_on_one_side_contradicts() -> None:
    assert contradicts(RateSample(0, 1e6, 2e6), 4e6)
    assert not contradicts(RateSample(0, 1e6, 4e6), 4e6)
    assert contradicts(RateSample(0, 6e6, 9e6), 4e6)


def _scattered(error: float, count: int, seed: int) -> list[float]:
    """Rates around 4 Mbit/s with a relative error (log-normal)."""
    rng = random.Random(seed)
    return [4e6 * math.exp(rng.gauss(0, error)) for _ in range(count)]


def _points(rates: list[float], gap: float = 0.5) -> list[Estimate]:
    """The estimate after each exact measurement."""
    found, estimate = [], Estimate()
    for i, rate in enumerate(rates):
        estimate = add(estimate, RateSample(gap * i, rate, 1.001 * rate, 0.1))
        found.append(estimate)
    return found


def test_a_link_that_scatters_is_smoothed() -> None:
    """The last value has an error of 1.13 deviations of one sample on average; the estimate has much less."""
    rates = _scattered(0.2, 400, 1)
    off = [abs(math.log((e.rate or 0) / r)) for e, r in zip(_points(rates), rates[1:], strict=False)]
    last = [abs(math.log(a / b)) for a, b in pairwise(rates)]
    assert mean(off[20:]) < 0.9 * mean(last[20:])


def test_a_link_that_holds_its_rate_between_steps_is_followed_as_by_the_last_value() -> None:
    rates = [2e6 * (1.0 + 0.6 * (i // 5 % 2)) for i in range(200)]
    followed = _points(rates)[50:]
    assert mean([abs(math.log((e.rate or 0) / r)) for e, r in zip(followed, rates[50:], strict=True)]) < 0.02


@pytest.mark.parametrize("error", [0.05, 0.2, 0.4])
def test_a_fifth_of_the_transfers_are_slower_than_the_low_quantile(error: float) -> None:
    rates = _scattered(error, 2000, 2)
    below = [r < (e.low or 0) for e, r in zip(_points(rates), rates[1:], strict=False)]
    assert mean(below[50:]) == pytest.approx(LOW, abs=0.05)


def test_on_a_steady_link_the_low_quantile_is_the_level() -> None:
    estimate = _points([4e6] * 50)[-1]
    assert estimate.rate == pytest.approx(4e6, rel=0.01)
    assert estimate.low == pytest.approx(4e6, rel=0.01)


def test_the_low_quantile_falls_with_age_and_the_level_does_not() -> None:
    estimate = _points(_scattered(0.2, 100, 3))[-1]
    lows = [low_at(estimate, estimate.at + age) or 0 for age in (0.0, 0.5, 2.0, 10.0, 30.0, 1e6)]
    assert lows[0] == lows[1] == estimate.low
    assert lows[1] > lows[2] > lows[3] > lows[4] == lows[5] > 0.3 * (estimate.rate or 0)
    assert low_at(Estimate(), 5.0) is None


def test_a_transfer_that_took_longer_than_any_node_is_held_up_is_believed_at_once() -> None:
    steady = _points([4e6] * 20, gap=0.1)[-1]
    assert add(steady, RateSample(steady.at + 0.1, 0.4e6, 0.5e6, 0.05)).rate == pytest.approx(4e6, rel=0.01)
    assert add(steady, RateSample(steady.at + 0.1, 0.4e6, 0.5e6, 0.2)).rate == pytest.approx(0.4e6)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(1, 1e10), st.floats(1, 100) | st.just(inf), st.floats(0, 10)),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_is_measured_the_estimate_lies_within_it(
    steps: list[tuple[float, float, float, float]],
) -> None:
    estimate, now = Estimate(), 0.0
    for pause, low, factor, seconds in steps:
        now += pause
        estimate = add(estimate, RateSample(now, low, low * factor, seconds))
        assert estimate.rate is not None
        assert estimate.low is not None
        least, most = min(s[1] for s in steps), max(s[1] * min(s[2], 1.0) for s in steps)
        assert 0.999 * least <= estimate.rate <= 1.001 * most
        assert 0 <= estimate.low <= estimate.rate


def test_a_transfer_waits_for_those_before_it() -> None:
    assert LinkView(True, 1e6, backlog=2e5).wait_for(1e5, idle=False) == pytest.approx(0.3)
    assert LinkView(True, None).wait_for(1e5, idle=True) is None


def test_while_the_link_is_down_one_transfer_at_a_time_tries_it() -> None:
    assert LinkView(False, 1e6).wait_for(1e5, idle=True) is None
    assert LinkView(False, 1e6).wait_for(1e5, idle=False) == inf
