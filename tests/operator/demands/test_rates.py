"""The rate that an entry node is planned for: declared, or measured, without following noise."""

from typing import Any

import pytest

from edge_api import Placement
from edge_operator.pool import rates
from edge_operator.pool.rates import ASSUMED, Measured, Rate
from pooled import placement

START = 1_770_000_000.0
DAY = 86400.0


def followed(*more: tuple[float, int, int], known: Measured | None = None) -> tuple[Measured, Placement]:
    """Looks at reports: seconds since the one before, requests, and how many of these were late."""
    at = START if known is None else known.at
    counted = (0, 0) if known is None else known.counted
    now = placement("edge-a", *counted)
    known = known or rates.measured(None, now, at)
    for seconds, requests, late in more:
        at, counted = at + seconds, (counted[0] + requests, counted[1] + requests - late)
        now = placement("edge-a", *counted)
        known = rates.measured(known, now, at)
    return known, now


def planned(found: Measured | None, before: Rate | None = None, **other: Any) -> Rate:
    """The rate to plan for, with a Placement that was planned for another one before."""
    now = placement(**other)
    if before is not None and found is not None:
        now = placement(annotations=rates.annotations(before, 0.0, found, None), **other)
    return rates.planned_rate(0.0, found, now, START if found is None else found.at)


def test_a_declared_rate_is_planned_for_whatever_was_measured() -> None:
    found, _ = followed(*[(10.0, 100, 0)] * 60)
    assert rates.planned_rate(30.0, found, placement(), found.at) == Rate(30.0)
    assert rates.annotations(Rate(30.0), 30.0, found, placement()) == {}


def test_a_service_without_requests_is_planned_for_a_small_rate_that_nothing_waits_for() -> None:
    found, now = followed((10.0, 0, 0), (600.0, 0, 0))
    assert planned(None) == planned(found) == ASSUMED == Rate(0.01, assumed=True)
    assert rates.annotations(ASSUMED, 0.0, found, now) == {}


def test_a_few_requests_do_not_make_a_rate() -> None:
    found, _ = followed((2.0, 19, 0))
    assert planned(found) == ASSUMED
    more, _ = followed((2.0, 19, 0), (2.0, 2, 0))
    assert planned(more).value > 1


def test_the_rate_is_that_below_which_nearly_all_requests_arrive() -> None:
    hour, peak = (10.0, 20, 0), (10.0, 80, 0)  # 2 and 8 requests/s
    rare, _ = followed(*[hour] * 360, *[peak] * 4)
    often, _ = followed(*[hour] * 360, *[peak] * 6)
    assert planned(rare).value == 2.0
    assert planned(often).value == 8.0


def test_idle_time_does_not_lower_the_rate_until_a_week_has_passed() -> None:
    busy, _ = followed(*[(10.0, 40, 0)] * 100)
    published = placement(annotations=rates.annotations(planned(busy), 0.0, busy, None))
    assert rates.planned_rate(0.0, busy, published, busy.at + 6 * DAY).value == 4.0
    assert rates.planned_rate(0.0, busy, published, busy.at + 8 * DAY) == ASSUMED


def test_a_rate_of_days_ago_gives_way_to_that_of_today() -> None:
    before, _ = followed(*[(10.0, 80, 0)] * 100)
    after, _ = followed((3 * DAY, 1, 0), *[(10.0, 10, 0)] * 8000, known=before)
    assert planned(after).value == 1.0


@pytest.mark.parametrize(("measured", "kept"), [(41, True), (29, True), (57, False), (19, False)])
def test_a_rate_moves_only_by_more_than_a_band(measured: int, *, kept: bool) -> None:
    """40 requests in 10 s were planned for: 4 requests/s."""
    found, _ = followed(*[(10.0, measured, 0)] * 100)
    assert (planned(found, Rate(4.0, assumed=True)).value == 4.0) is kept


def test_noise_around_the_border_of_two_bands_moves_the_plan_once() -> None:
    found, before, moves = None, None, 0
    for requests in [39, 41] * 50:
        found, _ = followed(*[(10.0, requests, 0)] * 50, known=found)
        now = planned(found, before)
        moves += before is not None and now != before
        before = now
    assert moves <= 1


def test_requests_in_time_cause_no_waits_in_the_plan_and_late_ones_do() -> None:
    on_time, _ = followed(*[(10.0, 40, 1)] * 100)
    late, _ = followed(*[(10.0, 40, 8)] * 100)
    assert planned(on_time).assumed
    assert not planned(late).assumed


def test_waits_stay_in_the_plan_until_hardly_a_request_of_recent_days_was_late() -> None:
    strained, _ = followed(*[(10.0, 40, 8)] * 10)
    better, _ = followed(*[(10.0, 40, 0)] * 400, known=strained)
    well, _ = followed(*[(10.0, 40, 0)] * 2000, known=strained)
    assert planned(better).assumed
    assert not planned(better, Rate(4.0)).assumed
    assert planned(well, Rate(4.0)).assumed


def test_a_client_that_keeps_the_node_busy_reserves_no_more_than_four_fifths_of_it() -> None:
    """20 requests/s of 50 ms, one after the other: all in time."""
    found, _ = followed(*[(10.0, 200, 0)] * 100)
    assert planned(found) == Rate(16.0, assumed=True)


def test_a_restarted_operator_plans_for_the_same_rate_and_writes_the_same_annotation() -> None:
    found, _ = followed(*[(10.0, 40, 8)] * 100)
    rate = planned(found)
    written = rates.annotations(rate, 0.0, found, None)
    published = placement("edge-a", *found.counted, annotations=written)
    restarted = rates.measured(None, published, found.at + 100.0)
    assert rates.planned_rate(0.0, restarted, published, found.at + 100.0) == rate
    assert rates.annotations(rate, 0.0, restarted, published) == written
    assert restarted.counted == found.counted


def test_the_annotation_stays_while_the_rate_does() -> None:
    found, _ = followed(*[(10.0, 40, 0)] * 100)
    published = placement(annotations=rates.annotations(planned(found), 0.0, found, None))
    more, _ = followed(*[(10.0, 43, 0)] * 100, known=found)
    rate = rates.planned_rate(0.0, more, published, more.at)
    assert rates.annotations(rate, 0.0, more, published) == published.metadata.annotations


def test_a_plan_is_due_when_the_rate_left_its_band_and_not_before() -> None:
    found, now = followed(*[(10.0, 40, 0)] * 100)
    assert rates.moved(0.0, found, now, found.at)
    assert not rates.moved(30.0, found, now, found.at)
    published = placement(annotations=rates.annotations(planned(found), 0.0, found, None))
    more, _ = followed((10.0, 44, 0), known=found)
    assert not rates.moved(0.0, more, published, more.at)
    peak, _ = followed(*[(10.0, 160, 0)] * 10, known=found)
    assert rates.moved(0.0, peak, published, peak.at)


def test_counters_of_a_new_placement_start_from_zero() -> None:
    found, _ = followed(*[(10.0, 40, 0)] * 100)
    moved = rates.measured(found, placement("edge-a", 10, uid="uid-2"), found.at + 10.0)
    assert (moved.uid, moved.counted.requests) == ("uid-2", 10)
    assert moved.bands == found.bands


def test_counters_that_fall_for_a_moment_are_not_counted_twice() -> None:
    found, now = followed(*[(10.0, 40, 0)] * 10)
    assert rates.measured(found, placement("edge-a", 350), found.at + 10.0) == found
    assert rates.measured(found, now, found.at + 20.0) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "4",
        '{"rate": 1}',
        '{"rate": -1, "assumed": true, "uid": "", "at": 0, "counted": [0, 0], "bands": {}}',
    ],
)
def test_an_annotation_that_is_not_as_written_is_ignored(text: str) -> None:
    edited = placement(annotations={"edge-intelligence.io/planned-rate": text})
    assert rates.published_rate(edited) is None
    assert rates.measured(None, edited, START).bands == {}


def test_what_is_kept_of_a_long_history_stays_small() -> None:
    found, _ = followed(*[(10.0, 2**n, 0) for n in range(20)] * 20)
    (text,) = rates.annotations(planned(found), 0.0, found, None).values()
    assert len(text) < 1000
