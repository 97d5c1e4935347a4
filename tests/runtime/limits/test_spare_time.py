"""Requests beyond the planned rates get what others at the node leave idle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.inference.spare_time import SpareTime

RUN = 0.05


def runs(spare: SpareTime, had: float, begin: float, seconds: float) -> float:
    """Adds runs of 50 ms, one after the other, that have a processor for this part of their time."""
    now = begin
    while now < begin + seconds:
        now += RUN
        spare.ran(had * RUN, RUN, now)
    return now


def test_nothing_waits_while_runs_have_a_processor_all_the_time() -> None:
    spare = SpareTime()
    now = runs(spare, 1.0, 0.0, 5.0)
    assert spare.part(now) == 1.0
    assert [spare.take("a", 2.0, RUN, now) for _ in range(5)] == [0.0] * 5
    assert spare.wait("a", now) == 0.0


def test_runs_that_wait_for_a_processor_shrink_the_part_within_two_seconds() -> None:
    spare = SpareTime()
    now = runs(spare, 0.4, 0.0, 2.0)
    assert spare.part(now) <= 0.05


def test_the_part_is_never_nothing() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 60.0)
    assert spare.part(now) >= 0.02


def test_the_part_is_whole_ten_seconds_after_the_last_contention() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 10.0)
    now = runs(spare, 1.0, now, 12.0)
    assert spare.part(now) == 1.0


def test_the_part_grows_without_runs() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 10.0)
    before = spare.part(now)
    assert spare.part(now + 5.0) == pytest.approx(before + 0.5, abs=0.05)


def test_inferences_are_spaced_by_the_part() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 10.0)
    part = spare.part(now)
    waits = [spare.take("a", 2.0, RUN, now) for _ in range(3)]
    assert waits == pytest.approx([0.0, RUN / part, 2 * RUN / part])
    assert spare.wait("a", now) == pytest.approx(3 * RUN / part)


def test_services_share_the_part_by_their_planned_rates() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 10.0)
    part = spare.part(now)
    spare.take("small", 1.0, 0.0, now)
    spare.take("large", 3.0, 0.0, now)
    spare.take("small", 1.0, RUN, now)
    spare.take("large", 3.0, RUN, now)
    assert spare.wait("small", now) == pytest.approx(RUN / (part / 4))
    assert spare.wait("large", now) == pytest.approx(RUN / (3 * part / 4))


def test_a_service_without_recent_requests_beyond_its_rate_gets_no_part() -> None:
    spare = SpareTime()
    now = runs(spare, 0.1, 0.0, 10.0)
    spare.take("gone", 3.0, RUN, now - 5.0)
    part = spare.part(now)
    spare.take("here", 1.0, RUN, now)
    assert spare.wait("here", now) == pytest.approx(RUN / part)


def test_waiting_requests_run_by_the_planned_rates_of_their_services() -> None:
    spare, waiting = SpareTime(), list[tuple[float, str]]()
    for service, rate in (("small", 1.0), ("large", 3.0)):
        for _ in range(40):
            place = spare.place(service)
            spare.placed(service, rate, place)
            waiting.append((place, service))
    ran = [service for _, service in sorted(waiting)[:40]]
    assert (ran.count("small"), ran.count("large")) == (10, 30)


def test_a_service_that_begins_to_exceed_its_rate_does_not_make_up_for_the_time_before() -> None:
    spare = SpareTime()
    for _ in range(100):
        place = spare.place("old")
        spare.placed("old", 1.0, place)
        spare.started(place)
    assert spare.place("new") == place
    assert spare.place("old") == place + 1.0


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 2.0)), max_size=60))
def test_the_part_stays_between_its_limits(steps: list[tuple[float, float]]) -> None:
    spare, now = SpareTime(), 0.0
    for had, passed in steps:
        now += passed
        spare.ran(had * RUN, RUN, now)
        assert 0.02 <= spare.part(now) <= 1.0
        assert spare.take("a", 1.0, RUN, now) >= 0.0
