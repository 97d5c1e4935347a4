"""The share of requests in time with random arrivals, simulated."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from edge_planning.routing.batches import Experience, Waiting, next_batch

COUNT = 3000


def share(load: float, largest: int, deadline: float, seconds: Callable[[int], float]) -> float:
    """The share of requests in time that arrive at `load` times the rate of single runs."""
    rng, known = random.Random(1), Experience(proven=True)
    known.add(1, seconds(1))
    known.add(2, seconds(2))
    moments, now = [], 0.0
    for _ in range(COUNT):
        now += rng.expovariate(load / seconds(1))
        moments.append(now)
    waiting: list[Waiting] = []
    came = in_time = runs = skipped = 0
    now = 0.0
    while came < COUNT or waiting:
        if not waiting:
            now = max(now, moments[came])
        while came < COUNT and moments[came] <= now:
            waiting.append(Waiting("a", known, 1, moments[came] + deadline, moments[came]))
            came += 1
        runs += 1
        batch = next_batch(waiting, now, largest, skipped, curious=runs % 256 == 0)
        skipped = skipped + 1 if batch.passed else 0
        took = seconds(len(batch.chosen)) * rng.uniform(1.0, 1.2)
        known.add(len(batch.chosen), took)
        now += took
        in_time += sum(now <= waiting[i].deadline for i in batch.chosen)
        waiting = [each for i, each in enumerate(waiting) if i not in batch.chosen]
    return in_time / COUNT


def memoization(rows: int) -> float:
    """Four fifths of a single run are the time to read the weights from memory."""
    return 0.0016 + 0.0004 * rows


def dear(rows: int) -> float:
    """Batches save nothing."""
    return 0.002 * rows


def between(rows: int) -> float:
    return 0.0007 + 0.0013 * rows


@pytest.mark.parametrize(
    ("seconds", "load", "deadline", "least_alone", "least_together"),
    [
        (memoization, 0.9, 0.03, 0.90, 0.999),
        (memoization, 1.3, 0.03, 0.60, 0.999),
        (memoization, 2.0, 0.03, 0.39, 0.999),
        (memoization, 1.3, 0.01, 0.60, 0.98),
        (between, 0.9, 0.03, 0.90, 0.99),
        (between, 1.3, 0.03, 0.60, 0.75),
        (dear, 0.9, 0.03, 0.90, 0.90),
        (dear, 1.3, 0.03, 0.60, 0.60),
    ],
)
def test_more_are_in_time_in_batches_where_these_save_time_and_as_many_where_not(
    seconds: Callable[[int], float], load: float, deadline: float, least_alone: float, least_together: float
) -> None:
    alone, together = (share(load, largest, deadline, seconds) for largest in (1, 8))
    assert alone >= least_alone
    assert together >= max(least_together, alone - 0.01)
