"""The next run and its batch: by deadlines, by durations of runs, and by proven properties."""

from __future__ import annotations

from math import inf

import pytest

from edge_planning.routing.batches import (
    DEFAULT_PRIORITY,
    PATIENCE,
    Batch,
    Experience,
    Precedence,
    Waiting,
    next_batch,
    wait_before,
)


def experienced(*seconds: float, proven: bool | None = True) -> Experience:
    """Runs of 1, 2, 4, ... rows took these numbers of seconds."""
    known = Experience(proven=proven)
    for power, each in enumerate(seconds):
        known.add(2**power, each)
    return known


CHEAP = experienced(0.010, 0.011, 0.012, 0.014)  # eight together take little longer than one


def ask(
    known: Experience = CHEAP,
    deadline: float = inf,
    arrival: float = 0.0,
    stack: object = "a",
    rows: int = 1,
    *,
    beyond: bool = False,
    service: object = None,
    priority: int = DEFAULT_PRIORITY,
) -> Waiting:
    return Waiting(stack, known, rows, deadline, arrival, Precedence(beyond, service, priority))


def test_what_waits_alone_is_run_alone() -> None:
    assert next_batch([ask()], 0.0) == Batch((0,))


def test_the_earliest_deadline_is_first_and_equal_ones_go_by_arrival() -> None:
    waiting = [
        ask(deadline=9.0, arrival=0.0, stack="a"),
        ask(deadline=5.0, arrival=0.2, stack="b"),
        ask(deadline=5.0, arrival=0.1, stack="c"),
        ask(deadline=inf, arrival=0.0, stack="d"),
    ]
    turns = []
    left = list(waiting)
    while left:
        (index,) = next_batch(left, 0.3).chosen
        turns.append(left.pop(index).stack)
    assert turns == ["c", "b", "a", "d"]


def test_a_deadline_that_cannot_be_met_does_not_cost_another_one_its_own() -> None:
    waiting = [ask(deadline=1.005, stack="late"), ask(deadline=1.015, stack="in time")]
    assert next_batch(waiting, 1.0) == Batch((1,), passed=True)


def test_what_has_no_deadline_gets_one_run_in_nine() -> None:
    waiting = [ask(stack="patient"), ask(deadline=100.0, stack="due")]
    skipped, turns = 0, []
    for _ in range(18):
        batch = next_batch(waiting, 0.0, skipped=skipped)
        skipped = skipped + 1 if batch.passed else 0
        turns.append(batch.chosen[0])
    assert turns == [*[1] * PATIENCE, 0, *[1] * PATIENCE, 0]


def test_likes_are_run_together_up_to_the_largest_batch() -> None:
    waiting = [ask(arrival=i) for i in range(11)]
    assert next_batch(waiting, 20.0, largest=8).chosen == tuple(range(8))
    assert next_batch(waiting, 20.0, largest=5).chosen == tuple(range(5))
    assert next_batch(waiting, 20.0, largest=1).chosen == (0,)


def test_rows_count_not_requests_and_one_that_is_larger_by_itself_runs_alone() -> None:
    rows = [3, 4, 2, 1]
    waiting = [ask(arrival=i, rows=n) for i, n in enumerate(rows)]
    assert next_batch(waiting, 9.0, largest=8).chosen == (0, 1, 3)
    assert next_batch([ask(rows=20), ask(arrival=1)], 9.0, largest=8).chosen == (0,)


def test_only_those_of_one_session_and_one_shape_are_run_together() -> None:
    waiting = [ask(arrival=i, stack=s) for i, s in enumerate("abaab")]
    assert next_batch(waiting, 9.0).chosen == (0, 2, 3)
    assert next_batch([ask(stack=None), ask(stack=None, arrival=1)], 9.0).chosen == (0,)


@pytest.mark.parametrize(("deadline", "count"), [(1.0120, 1), (1.0144, 2), (1.0157, 4), (1.0183, 8)])
def test_a_batch_is_as_large_as_the_earliest_deadline_allows_with_a_margin(
    deadline: float, count: int
) -> None:
    """A run of 10 to 14 ms must fit with a margin of 30 %."""
    waiting = [ask(deadline=deadline), *(ask(deadline=9.0, arrival=i) for i in range(1, 9))]
    assert len(next_batch(waiting, 1.0).chosen) == count


def test_a_batch_makes_no_one_late_who_is_not_in_it() -> None:
    between = ask(deadline=1.021, stack="b", arrival=0.5)
    waiting = [ask(deadline=1.020), between, ask(deadline=9.0, arrival=0.6)]
    assert next_batch(waiting, 1.0).chosen == (0,)
    waiting[1] = ask(deadline=1.030, stack="b", arrival=0.5)
    assert next_batch(waiting, 1.0).chosen == (0, 2)


def test_one_that_is_late_anyway_does_not_keep_others_from_a_batch() -> None:
    waiting = [ask(deadline=0.5, arrival=i / 10) for i in range(4)]
    assert next_batch(waiting, 1.0).chosen == (0, 1, 2, 3)
    assert next_batch([*waiting, ask(deadline=9.0)], 1.0).chosen == (4, 0, 1, 2, 3)


def test_runs_of_what_is_late_keep_short_for_those_who_may_come() -> None:
    """A quarter of the requests' 64 ms is enough for four in 12 ms, with their margin."""
    waiting = [ask(deadline=0.064 + i / 100, arrival=i / 100) for i in range(9)]
    assert len(next_batch(waiting, 1.0).chosen) == 4
    waiting = [ask(deadline=0.2 + i / 100, arrival=i / 100) for i in range(9)]
    assert len(next_batch(waiting, 1.0).chosen) == 8


@pytest.mark.parametrize(("two", "together"), [(0.0191, False), (0.0189, True)])
def test_a_batch_that_saves_less_than_a_twentieth_is_not_made_unless_out_of_curiosity(
    two: float, together: bool
) -> None:
    known = experienced(0.010, two)
    waiting = [ask(known), ask(known, arrival=1)]
    assert len(next_batch(waiting, 2.0).chosen) == 1 + together
    assert len(next_batch(waiting, 2.0, curious=True).chosen) == 2


def test_what_varies_has_to_save_more_than_its_mean_may_be_wrong_by() -> None:
    known = experienced(0.010, 0.017)
    assert known.pays([1, 1])
    for _ in range(20):
        known.add(2, 0.012)
        known.add(2, 0.022)
    assert known.mean(2) == pytest.approx(0.0175, abs=0.0005)
    assert not known.pays([1, 1])


def test_a_size_is_tried_only_after_one_of_half_of_it() -> None:
    known = experienced(0.010, 0.011)
    waiting = [ask(known, arrival=i) for i in range(8)]
    assert len(next_batch(waiting, 9.0).chosen) == 4
    known.add(4, 0.012)
    assert len(next_batch(waiting, 9.0).chosen) == 8


def test_a_session_is_proven_when_two_wait_and_the_proof_makes_no_one_late() -> None:
    new = experienced(0.010, proven=None)
    assert next_batch([ask(new)], 0.0) == Batch((0,))
    assert next_batch([ask(new), ask(new, arrival=1)], 2.0) == Batch((0,), proof=True)
    hurried = [ask(new), ask(new, arrival=1, deadline=2.03)]
    assert next_batch(hurried, 2.0) == Batch((1,), proof=True, passed=True)
    assert next_batch([ask(new, deadline=2.02), *hurried], 2.0) == Batch((0,), passed=True)
    new.checking = True
    assert next_batch([ask(new), ask(new, arrival=1)], 2.0) == Batch((0,))
    refused = experienced(0.010, 0.011, proven=False)
    assert next_batch([ask(refused), ask(refused, arrival=1)], 2.0) == Batch((0,))


def test_sizes_that_were_not_measured_lie_between_those_that_were_or_in_proportion() -> None:
    known = experienced(0.010, 0.012, 0.020)
    assert known.mean(3) == pytest.approx(0.016)
    assert known.mean(8) == pytest.approx(0.040)
    assert known.most(3) == pytest.approx(1.3 * 0.016)
    assert experienced().mean(4) == 0.0
    assert Experience(0.005).mean(1) == 0.005


def test_a_run_that_varies_gets_four_of_its_deviations() -> None:
    known = Experience(0.010)
    for _ in range(20):
        known.add(1, 0.008)
        known.add(1, 0.012)
    assert known.mean(1) == pytest.approx(0.010, abs=0.0005)
    assert known.most(1) == pytest.approx(0.0185, abs=0.001)
    known.add(2, 0.010)
    assert known.most(2) == pytest.approx(0.0185, abs=0.001)  # the deviation of one row


def test_a_stalled_run_counts_as_two_and_what_stays_slow_is_followed() -> None:
    known = Experience(0.010)
    known.add(1, 3.0)
    assert known.mean(1) == pytest.approx(0.012)
    for _ in range(9):
        known.add(1, 0.060)
    assert known.mean(1) == pytest.approx(0.048, abs=0.001)


def test_figures_of_any_number_of_rows_take_bounded_room() -> None:
    known = Experience()
    for rows in range(1, 5000):
        known.add(rows, 0.001)
    assert len(known.sizes) == 64 + 7


ALONE = experienced(0.010, proven=False)


@pytest.mark.parametrize(
    ("deadlines", "deadline", "seconds", "wait"),
    [
        ([], 1.0, 0.01, 0.0),
        ([0.5, 0.6, 2.0], 1.0, 0.01, 0.02),  # the third one is due later
        ([0.5, 0.005, 0.005], 1.0, 0.01, 0.01),  # the others cannot be met any more
        ([0.5, 0.6, 0.005], 0.02, 0.03, 0.03),  # it cannot be met itself
        ([0.5, 0.6], inf, 0.01, 0.02),
        ([0.025] * 100, 1.0, 0.01, 0.02),  # of those with one deadline, two can be met
        ([0.5] * PATIENCE + [0.005] * 3, 1.0, 0.01, 0.09),  # a late one gets a turn after eight runs
    ],
)
def test_an_inference_waits_for_those_that_run_before_it(
    deadlines: list[float], deadline: float, seconds: float, wait: float
) -> None:
    waiting = [ask(ALONE, each) for each in deadlines]
    assert wait_before(waiting, deadline, seconds, 0.0) == pytest.approx(wait)


def test_those_before_it_that_share_runs_take_the_time_of_a_batch() -> None:
    waiting = [ask(deadline=0.5) for _ in range(16)]
    assert wait_before(waiting, 1.0, 0.01, 0.0) == pytest.approx(2 * 0.014)


def test_what_is_beyond_the_plan_runs_after_what_is_within_it_and_before_what_is_late() -> None:
    waiting = [
        ask(ALONE, 0.5, stack="beyond", beyond=True),
        ask(ALONE, 0.9, stack="within"),
        ask(ALONE, 0.001, stack="late"),
    ]
    turns, left = [], list(waiting)
    while left:
        (index,) = next_batch(left, 0.0).chosen
        turns.append(left.pop(index).stack)
    assert turns == ["within", "beyond", "late"]


@pytest.mark.parametrize(("beyond", "wait"), [(False, 0.01), (True, 0.03)])
def test_what_is_within_the_plan_does_not_wait_for_what_is_beyond_it(beyond: bool, wait: float) -> None:
    waiting = [ask(ALONE, 0.5), ask(ALONE, 0.9), ask(ALONE, 0.4, beyond=True), ask(ALONE, 0.8, beyond=True)]
    found = wait_before(waiting, 0.7, 0.01, 0.0, precedence=Precedence(beyond))
    assert found == pytest.approx(wait)


def _turns(*waiting: Waiting) -> list[object]:
    """The stacks of waiting inferences in the order of their turns."""
    turns, left = [], list(waiting)
    while left:
        (index,) = next_batch(left, 0.0).chosen
        turns.append(left.pop(index).stack)
    return turns


def test_a_service_orders_its_requests_by_priority_and_equal_ones_by_arrival() -> None:
    requests = [
        ask(ALONE, arrival=0.0, stack="last", service="s", priority=10),
        ask(ALONE, arrival=0.1, stack="ordinary", service="s"),
        ask(ALONE, arrival=0.2, stack="first", service="s", priority=1),
        ask(ALONE, arrival=0.3, stack="second", service="s", priority=1),
    ]
    assert _turns(*requests) == ["first", "second", "ordinary", "last"]


def test_a_priority_precedes_the_deadline_of_another_request_of_the_service() -> None:
    urgent = ask(ALONE, deadline=0.05, stack="urgent", service="s", priority=2)
    assert _turns(urgent, ask(ALONE, stack="first", service="s", priority=1)) == ["first", "urgent"]


def test_a_priority_delays_no_request_of_another_service() -> None:
    requests = [
        ask(ALONE, arrival=0.0, stack="a, low", service="a", priority=9),
        ask(ALONE, arrival=0.1, stack="b", service="b"),
        ask(ALONE, arrival=0.2, stack="a, high", service="a", priority=1),
        ask(ALONE, arrival=0.3, stack="c", service=None, priority=1),
        ask(ALONE, deadline=1.0, arrival=0.4, stack="b, due", service="b", priority=10),
    ]
    assert _turns(*requests) == ["b", "b, due", "a, high", "a, low", "c"]


@pytest.mark.parametrize(("priority", "wait"), [(1, 0.01), (5, 0.03), (10, 0.04)])
def test_a_request_waits_for_those_of_its_service_with_a_higher_priority(priority: int, wait: float) -> None:
    waiting = [
        ask(ALONE, 0.5, service="other"),
        ask(ALONE, 0.9, service="s", priority=4),
        ask(ALONE, 0.6, service="s"),
        ask(ALONE, 0.7, service="s", priority=6),
    ]
    precedence = Precedence(service="s", priority=priority)
    assert wait_before(waiting, 0.8, 0.01, 0.0, precedence=precedence) == pytest.approx(wait)
