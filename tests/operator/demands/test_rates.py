"""The rate that an entry node is planned for: declared, or measured, without following noise."""

import pytest

from edge_api import Placement
from edge_operator.pool import rates
from edge_operator.pool.rates import Measured, Rate
from edge_planning.pools import Observed
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


def observed(found: Measured | None, before: Observed | None = None) -> Observed | None:
    """The requests to plan with right after the last one was counted."""
    return rates.observed(found, before, START if found is None else found.at)


def seen(found: Measured, before: Observed | None = None) -> Observed:
    """Likewise, where enough of them are known."""
    planned = observed(found, before)
    assert planned is not None
    return planned


def test_a_declared_rate_is_reserved_and_without_one_a_small_rate_that_nothing_waits_for() -> None:
    assert rates.planned_rate(30.0) == Rate(30.0)
    assert rates.planned_rate(0.0) == Rate(0.01, assumed=True)


def test_a_service_without_requests_has_no_measured_rate() -> None:
    found, _ = followed((10.0, 0, 0), (600.0, 0, 0))
    assert observed(None) is observed(found) is None


def test_a_few_requests_do_not_make_a_rate() -> None:
    found, _ = followed((2.0, 19, 0))
    assert observed(found) is None
    more, _ = followed((2.0, 19, 0), (2.0, 2, 0))
    assert seen(more).rate > 1


def test_the_rate_is_that_below_which_nearly_all_requests_arrive() -> None:
    hour, peak = (10.0, 20, 0), (10.0, 80, 0)  # 2 and 8 requests/s
    rare, _ = followed(*[hour] * 360, *[peak] * 4)
    often, _ = followed(*[hour] * 360, *[peak] * 6)
    assert seen(rare).rate == 2.0
    assert seen(often).rate == 8.0


def test_idle_time_does_not_lower_the_rate_until_a_week_has_passed() -> None:
    busy, _ = followed(*[(10.0, 40, 0)] * 100)
    before = seen(busy)
    assert rates.observed(busy, before, busy.at + 6 * DAY) == Observed(4.0)
    assert rates.observed(busy, before, busy.at + 8 * DAY) is None


def test_a_rate_of_days_ago_gives_way_to_that_of_today() -> None:
    before, _ = followed(*[(10.0, 80, 0)] * 100)
    after, _ = followed((3 * DAY, 1, 0), *[(10.0, 10, 0)] * 8000, known=before)
    assert seen(after).rate == 1.0


@pytest.mark.parametrize(("measured", "kept"), [(41, True), (29, True), (57, False), (19, False)])
def test_a_rate_moves_only_by_more_than_a_band(measured: int, *, kept: bool) -> None:
    """40 requests in 10 s were planned with: 4 requests/s."""
    found, _ = followed(*[(10.0, measured, 0)] * 100)
    assert (seen(found, Observed(4.0)).rate == 4.0) is kept


def test_noise_around_the_border_of_two_bands_moves_the_plan_once() -> None:
    found, before, moves = None, None, 0
    for requests in [39, 41] * 50:
        found, _ = followed(*[(10.0, requests, 0)] * 50, known=found)
        now = observed(found, before)
        moves += before is not None and now != before
        before = now
    assert moves <= 1


def test_requests_count_as_late_if_more_than_one_in_twenty_missed_the_slo() -> None:
    on_time, _ = followed(*[(10.0, 40, 1)] * 100)
    late, _ = followed(*[(10.0, 40, 8)] * 100)
    assert not seen(on_time).late
    assert seen(late).late


def test_requests_count_as_late_until_hardly_one_of_recent_days_was() -> None:
    strained, _ = followed(*[(10.0, 40, 8)] * 10)
    better, _ = followed(*[(10.0, 40, 0)] * 400, known=strained)
    well, _ = followed(*[(10.0, 40, 0)] * 2000, known=strained)
    assert not seen(better).late
    assert seen(better, Observed(4.0, late=True)).late
    assert not seen(well, Observed(4.0, late=True)).late


def test_requests_stay_late_while_they_explain_why_another_table_is_used_and_their_rate_lasts() -> None:
    strained, _ = followed(*[(10.0, 40, 8)] * 10)
    well, _ = followed(*[(10.0, 40, 0)] * 2000, known=strained)
    before = Observed(4.0, late=True)
    assert rates.observed(well, before, well.at, before) == before
    assert rates.observed(well, before, well.at, Observed(4.0)) == Observed(4.0)
    fewer, _ = followed((9 * DAY, 1, 0), *[(10.0, 10, 0)] * 800, known=well)
    assert rates.observed(fewer, before, fewer.at, before) == Observed(1.0)


def test_a_restarted_operator_plans_with_the_same_requests_and_keeps_the_annotation() -> None:
    found, _ = followed(*[(10.0, 40, 8)] * 100)
    before = seen(found)
    written = rates.annotations(before, found, None)
    placed = placement("edge-a", *found.counted, annotations=written)
    restarted = rates.measured(None, placed, found.at + 100.0)
    assert rates.published(placed) == before
    assert rates.observed(restarted, before, found.at + 100.0) == before
    assert rates.annotations(before, restarted, placed) == written
    assert restarted.counted == found.counted


def test_the_annotation_stays_while_the_requests_to_plan_with_do() -> None:
    found, _ = followed(*[(10.0, 40, 0)] * 100)
    before = seen(found)
    placed = placement(annotations=rates.annotations(before, found, None))
    more, _ = followed(*[(10.0, 43, 0)] * 100, known=found)
    assert rates.annotations(seen(more, before), more, placed) == placed.metadata.annotations
    peak, _ = followed(*[(10.0, 160, 0)] * 100, known=found)
    assert rates.annotations(seen(peak, before), peak, placed) != placed.metadata.annotations


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
        '{"rate": -1, "late": true, "uid": "", "at": 0, "counted": [0, 0], "bands": {}}',
    ],
)
def test_an_annotation_that_is_not_as_written_is_ignored(text: str) -> None:
    edited = placement(annotations={"edge-intelligence.io/planned-rate": text})
    assert rates.published(edited) is None
    assert rates.measured(None, edited, START).bands == {}


def test_what_is_kept_of_a_long_history_stays_small() -> None:
    found, _ = followed(*[(10.0, 2**n, 0) for n in range(20)] * 20)
    (text,) = rates.annotations(seen(found), found, None).values()
    assert len(text) < 1000
