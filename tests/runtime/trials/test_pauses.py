"""Trial processes give way to requests, but run for a tenth of the time where requests never end."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.trials.pauses import LONGEST, RUNNING, TURN, after

STEPS = st.lists(st.tuples(st.booleans(), st.floats(0.001, 1.0)), max_size=60)


@given(STEPS)
def test_it_is_paused_only_after_requests_were_seen_and_for_no_longer_than_the_longest_pause(
    steps: list[tuple[bool, float]],
) -> None:
    pause, now, total = RUNNING, 0.0, 0.0
    for busy, seconds in steps:
        pause = after(pause, busy=busy, now=now)
        assert not pause.paused or busy
        assert not pause.paused or now - pause.since < LONGEST
        total += seconds if pause.paused else 0.0
        now += seconds
        assert pause.total(now) == pytest.approx(total)


def test_without_a_longest_pause_it_never_runs_while_requests_are_computed() -> None:
    pause = after(RUNNING, busy=True, now=0.0, longest=inf)
    for now in range(1, 100):
        pause = after(pause, busy=True, now=float(now), longest=inf)
        assert pause.paused
    assert not after(pause, busy=False, now=100.0, longest=inf).paused


def test_where_requests_never_end_it_runs_for_a_tenth_of_the_time() -> None:
    pause, ran, step, steps = RUNNING, 0.0, 0.01, 10_000
    for k in range(steps):
        pause = after(pause, busy=True, now=k * step)
        ran += 0.0 if pause.paused else step
    assert ran / (steps * step) == pytest.approx(TURN / (LONGEST + TURN), abs=0.03)
