"""Batching loses no deadline, runs every request once, and starves none."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from edge_planning.routing.batches import PATIENCE, Experience, Waiting, next_batch

LARGEST = 8


@st.composite
def experiences(draw: st.DrawFn) -> Experience:
    """Runs take the same time each time, with or without savings in batches."""
    known = Experience(proven=draw(st.sampled_from([True, True, True, False, None])))
    seconds = draw(st.floats(0.001, 0.1))
    known.add(1, seconds)
    for power in range(1, draw(st.integers(0, 3)) + 1):
        seconds *= draw(st.floats(0.6, 2.5))
        known.add(2**power, seconds)
    return known


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    sessions = draw(st.lists(experiences(), min_size=1, max_size=3))
    deadlines = st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 0.1), st.just(inf))
    found = []
    for arrival in range(draw(st.integers(1, 14))):
        which = draw(st.integers(0, len(sessions) - 1))
        stack = which if draw(st.booleans()) else None
        rows = draw(st.sampled_from([1, 1, 1, 2, 3, 9]))
        found.append(Waiting(stack, sessions[which], rows, draw(deadlines), -1.0 / (arrival + 1)))
    return found


def one_by_one(waiting: list[Waiting]) -> set[int]:
    """Requests in time if all run alone by their deadlines, with mean durations."""
    now, found = 0.0, set()
    for i in sorted(range(len(waiting)), key=lambda i: (waiting[i].deadline, waiting[i].arrival)):
        now += waiting[i].known.mean(waiting[i].rows)
        if now <= waiting[i].deadline:
            found.add(i)
    return found


def batched(waiting: list[Waiting], largest: int, curious: bool = False) -> tuple[list[int], set[int]]:
    """The order of all runs, and the requests in time, if each batch takes its maximum."""
    now, order, found, left = 0.0, [], set(), list(range(len(waiting)))
    while left:
        batch = next_batch([waiting[i] for i in left], now, largest, curious=curious)
        chosen = [left[i] for i in batch.chosen]
        known, rows = waiting[chosen[0]].known, sum(waiting[i].rows for i in chosen)
        assert len(chosen) == 1 or rows <= largest
        assert len({(waiting[i].stack, waiting[i].known) for i in chosen}) == 1
        finish = now + (known.most(rows) if len(chosen) > 1 else known.mean(rows))
        now = now + 4 * known.most(rows) if batch.proof else finish
        found |= {i for i in chosen if finish <= waiting[i].deadline + 1e-9}
        order += chosen
        left = [i for i in left if i not in chosen]
    return order, found


@given(queues(), st.booleans())
def test_who_is_in_time_one_by_one_is_in_time_in_batches(waiting: list[Waiting], curious: bool) -> None:
    order, found = batched(waiting, LARGEST, curious)
    assert one_by_one(waiting) <= found
    assert sorted(order) == list(range(len(waiting)))


@given(queues())
def test_without_batches_deadlines_that_can_be_met_are_met_in_their_order(waiting: list[Waiting]) -> None:
    order, found = batched(waiting, 1)
    assert one_by_one(waiting) <= found
    in_time = [waiting[i] for i in order if i in one_by_one(waiting) and waiting[i].deadline < inf]
    assert in_time == sorted(in_time, key=lambda w: (w.deadline, w.arrival))


@given(queues(), st.floats(0.0, 2.0), st.integers(0, PATIENCE), st.booleans())
def test_a_run_of_several_saves_time_unless_it_is_out_of_curiosity(
    waiting: list[Waiting], now: float, skipped: int, curious: bool
) -> None:
    batch = next_batch(waiting, now, LARGEST, skipped, curious=curious)
    chosen = [waiting[i] for i in batch.chosen]
    assert len(set(batch.chosen)) == len(chosen) >= 1
    if len(chosen) > 1:
        known = chosen[0].known
        assert known.proven
        rows = sum(w.rows for w in chosen)
        assert rows <= 2 * known.largest
        assert curious or known.mean(rows) < 0.95 * sum(known.mean(w.rows) for w in chosen)


@given(queues())
def test_a_request_without_deadline_is_passed_at_most_a_bounded_number_of_times(
    waiting: list[Waiting],
) -> None:
    patient = Waiting(None, Experience(0.01), 1, inf, -9.0)
    hurried = Waiting(None, Experience(0.01), 1, 1e6, 0.0)
    everyone, skipped, passed = [*waiting, patient], 0, 0
    while True:
        batch = next_batch([*everyone, hurried], 0.0, LARGEST, skipped)
        if len(everyone) - 1 in batch.chosen:
            break
        skipped = skipped + 1 if batch.passed else 0
        passed += 1
        assert passed <= PATIENCE
