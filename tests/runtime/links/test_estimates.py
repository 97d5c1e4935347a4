"""The estimate of a link's bandwidth from noisy transfers."""

from __future__ import annotations

import random
from math import inf

import pytest

from edge_runtime.links.estimates import Estimate, Sample, add, contradicts, sample_of

JITTER = 0.006
RATES = [20e6, 4e6, 1e6, 0.25e6]


def _transfer(rate: float, size: int, at: float, rng: random.Random) -> Sample:
    """A transfer as a throttled node times it: the link's time, and up to 5 ms of its own in two of three."""
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
    held_up = add(steady, Sample(steady.at + 0.1, 0.4e6, 0.5e6))
    assert held_up.rate == pytest.approx(4e6, rel=0.15)


def test_what_was_long_ago_counts_little_when_new_ones_come() -> None:
    estimate = Estimate()
    for i in range(6):
        estimate = add(estimate, Sample(0.1 * i, 9e6, 10e6))
    for i in range(3):
        estimate = add(estimate, Sample(100.0 + 2 * i, 8e6, 8.1e6))
    assert estimate.rate == pytest.approx(8.1e6, rel=0.02)


def test_a_time_within_the_jitter_gives_no_upper_bound() -> None:
    sample = sample_of(1000, 0.004, JITTER, 0.0)
    assert sample == Sample(0.0, 2e6, inf, 0.004)
    assert sample_of(1000, 0.0, JITTER, 0.0) is None


def test_only_a_whole_interval_on_one_side_contradicts() -> None:
    assert contradicts(Sample(0, 1e6, 2e6), 4e6)
    assert not contradicts(Sample(0, 1e6, 4e6), 4e6)
    assert contradicts(Sample(0, 6e6, 9e6), 4e6)
