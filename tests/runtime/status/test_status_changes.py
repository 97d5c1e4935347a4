"""A status is written when it says something new: changes at once, counters rarely, nothing otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edge_runtime.status import Counted, LinkReport, Report, Summary
from edge_runtime.status_changes import BURST, Planned, Written, after, due_in

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LINK = LinkReport(True, 6e6, 5e6, 0.02, NOW)
REPORT = Report(
    generation=3,
    loaded=True,
    message="",
    route="exit5@pool1",
    exit="exit5",
    cut="pool1",
    link=LINK,
    summary=Summary(0, 0, None, None),
    now=NOW,
    counted=Counted(10, 9, NOW),
    slo_met=True,
)
PLANNED = Planned(interval=8.0, borders=(5e6, 2e6, 0.0), round_trip=0.02)
WRITTEN = Written(REPORT, at=100.0)


def test_what_the_api_server_has_is_not_written_again() -> None:
    later = replace(REPORT, now=datetime(2026, 1, 3, tzinfo=UTC), summary=Summary(5, 5, 0.1, 0.2))
    assert due_in(WRITTEN, later, PLANNED, now=1e6) is None


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 4},
        {"loaded": False, "message": "slice missing", "reason": "NotFound"},
        {"route": "exit1@local", "exit": "exit1", "cut": "local"},
        {"slo_met": False},
        {"peer_scheme": "HTTPS"},
        {"idle": True},
        {"first_requests": {"kept": 1, "attempts": 0, "message": ""}},
        {"link": replace(LINK, up=False)},
        {"link": None},
        {"link": replace(LINK, bandwidth=4e6)},
        {"link": replace(LINK, round_trip=0.09)},
    ],
)
def test_what_changes_what_the_operator_does_is_written_at_once(change: dict[str, object]) -> None:
    assert due_in(WRITTEN, replace(REPORT, **change), PLANNED, now=100.5) == 0.0  # type: ignore[arg-type]


def test_the_number_of_kept_inputs_is_not_written_alone() -> None:
    kept = replace(REPORT, first_requests={"kept": 1, "attempts": 0, "message": ""})
    more = replace(REPORT, first_requests={"kept": 8, "attempts": 0, "message": ""})
    failed = replace(REPORT, first_requests={"kept": 8, "attempts": 1, "message": "not enough memory"})
    assert due_in(Written(kept, at=100.0), more, PLANNED, now=1e6) is None
    assert due_in(Written(kept, at=100.0), failed, PLANNED, now=100.5) == 0.0


@pytest.mark.parametrize(
    "link",
    [
        replace(LINK, bandwidth=60e6, bandwidth_low=50e6),
        replace(LINK, bandwidth=5.1e6),
        replace(LINK, bandwidth=4.6e6),  # the table changes at 5 Mbit/s: within a tenth is noise
        replace(LINK, round_trip=0.011),
        replace(LINK, round_trip=0.029),
        replace(LINK, round_trip=None),
    ],
)
def test_measurements_within_the_band_of_the_plan_are_not_written(link: LinkReport) -> None:
    assert due_in(WRITTEN, replace(REPORT, link=link), PLANNED, now=1e6) is None


def test_a_runtime_that_measures_for_others_also_reports_what_its_own_routes_do_not_need() -> None:
    faster = replace(REPORT, link=replace(LINK, bandwidth=8e6))
    assert due_in(WRITTEN, faster, PLANNED, now=1e6) is None
    assert due_in(WRITTEN, faster, replace(PLANNED, told_others=True), now=1e6) == 0.0


def test_a_round_trip_outside_the_band_is_reported_once_while_the_plan_stays() -> None:
    slow = replace(REPORT, link=replace(LINK, round_trip=0.2))
    written = after(WRITTEN, slow, PLANNED, 101.0)
    assert due_in(written, replace(REPORT, link=replace(LINK, round_trip=0.21)), PLANNED, 200.0) is None
    assert due_in(written, replace(REPORT, link=replace(LINK, round_trip=0.5)), PLANNED, 200.0) == 0.0


def test_the_first_measurement_of_a_bandwidth_is_written() -> None:
    before = Written(replace(REPORT, link=replace(LINK, bandwidth=None)), 100.0)
    assert due_in(before, REPORT, PLANNED, 100.0) == 0.0


def test_counters_are_written_only_if_they_moved_and_once_per_interval() -> None:
    more = replace(REPORT, counted=Counted(11, 10, NOW))
    assert due_in(WRITTEN, more, PLANNED, now=103.0) == 5.0
    assert due_in(WRITTEN, more, PLANNED, now=108.0) == 0.0
    assert due_in(WRITTEN, more, replace(PLANNED, interval=1024.0), now=108.0) == 1016.0


def test_a_route_that_changes_every_second_is_written_a_few_times_and_then_once_per_interval() -> None:
    written, times = WRITTEN, []
    for second in range(100, 400):
        report = replace(REPORT, route=f"route-{second % 2}")
        if due_in(written, report, PLANNED, float(second)) == 0.0:
            written = after(written, report, PLANNED, float(second))
            times.append(second)
    assert times[:BURST] == list(range(100, 100 + BURST))
    assert len(times) <= BURST + 300 / PLANNED.interval + 1


def test_counters_and_changes_together_are_at_most_two_writes_an_interval_and_a_few_at_once() -> None:
    """The route turns half a second after each report of counters, and requests arrive all the time."""
    written, times, route = WRITTEN, list[float](), 0
    for step in range(200, 2000):
        now = step / 2
        counted = Counted(10 + step, 9 + step, NOW)
        report = replace(REPORT, route=f"route-{route}", counted=counted)
        if due_in(written, report, PLANNED, now) == 0.0:
            route += written.report.route == report.route
            written = after(written, report, PLANNED, now)
            times.append(now)
    assert len(times) > 1.5 * 900 / PLANNED.interval
    assert len(times) <= BURST + 2 * 900 / PLANNED.interval + 1


def test_a_generation_never_waits_for_the_budget() -> None:
    spent = replace(WRITTEN, changes_left=0.0)
    assert due_in(spent, replace(REPORT, route="exit1@local"), PLANNED, 100.0) == 8.0
    assert due_in(spent, replace(REPORT, generation=4), PLANNED, 100.0) == 0.0


def test_a_runtime_that_has_just_started_leaves_the_report_before_it() -> None:
    nothing = replace(REPORT, generation=0, loaded=False, route="", link=None)
    assert due_in(WRITTEN, nothing, PLANNED, 1e6) is None
    assert due_in(None, nothing, PLANNED, 1e6) == 0.0
    assert due_in(WRITTEN, replace(nothing, message="cannot be loaded"), PLANNED, 1e6) == 0.0


@pytest.mark.parametrize(
    ("before", "now", "written"),
    [
        (None, LinkReport(True, None, None, 0.001, None), False),
        (None, LinkReport(False, None, None, None, NOW), True),
        (None, LinkReport(True, 50e6, 40e6, 0.001, NOW), True),
        (LinkReport(True, 50e6, 40e6, 0.001, NOW), LinkReport(True, 45e6, 20e6, 0.002, NOW), False),
        (LinkReport(True, 50e6, 40e6, 0.001, NOW), LinkReport(True, 30e6, 20e6, 0.001, NOW), True),
        (LinkReport(True, 50e6, 40e6, 0.001, NOW), LinkReport(False, 50e6, 40e6, 0.001, NOW), True),
        (LinkReport(True, 50e6, 40e6, 0.001, NOW), LinkReport(True, 50e6, 40e6, 0.05, NOW), True),
        (LinkReport(True, 50e6, 40e6, 0.001, NOW), None, True),
    ],
)
def test_a_link_to_another_node_is_reported_when_it_leaves_the_band_of_its_last_report(
    before: LinkReport | None, now: LinkReport | None, written: bool
) -> None:
    earlier, later = (
        replace(REPORT, local_links={} if each is None else {"gate": each}) for each in (before, now)
    )
    assert (due_in(Written(earlier, 100.0), later, PLANNED, 1e6) == 0.0) is written
