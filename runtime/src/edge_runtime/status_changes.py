"""When a Placement's status is to be written. Pure.

What changes what the operator or a reader does is written at once: another generation, route, state of the
link or verdict on the SLO, sessions that were let go or loaded again, and a measurement that the route table
was not planned for. Counters are written only if they moved, and at most once per interval; the operator
chooses the interval so that those of a pool are at most 60 writes a minute. Changes have a budget of their
own, because a route can change every second: a few at once, then one per interval. Only a generation is never
kept waiting, since the operator waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge_planning.links.bands import crosses, departs, differs
from edge_runtime.residuals import SHIFT
from edge_runtime.status import LinkReport, Report

BURST: Final = 5
"""Changes that are written at once after a quiet time."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the route table was planned for, and the least seconds between two reports of counters.

    borders: the least bandwidths (bit/s) of the routes. round_trip: in seconds; None for the default.
    told_others: whether the operator tells other runtimes what this one reports of the link.
    """

    interval: float
    borders: Sequence[float] = ()
    round_trip: float | None = None
    told_others: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The last report that the API server has, the second at which it was written, and the budget then."""

    report: Report
    at: float
    changes_left: float = BURST


def due_in(written: Written | None, report: Report, planned: Planned, now: float) -> float | None:
    """Returns the seconds until the report is to be written: 0 for now, None if nothing in it is new.

    written: None if the API server has no report of this Placement. A runtime that has just started and knows
    nothing yet leaves an earlier report as it is: that it does not serve, its pod's Ready condition says.
    """
    if written is not None and report.generation == 0 and not report.message:
        return None
    if written is None or _generation(written.report) != _generation(report):
        return 0.0
    age = now - written.at
    if _changed(written.report, report, planned):
        missing = 1 - written.changes_left - age / planned.interval
        return max(missing * planned.interval, 0.0)
    if written.report.counted != report.counted:
        return max(planned.interval - age, 0.0)
    return None


def after(written: Written | None, report: Report, planned: Planned, now: float) -> Written:
    """Returns the state after this report was written at second `now`."""
    if written is None:
        return Written(report, now)
    left = min(written.changes_left + (now - written.at) / planned.interval, float(BURST))
    counted_only = _generation(written.report) == _generation(report) and not _changed(
        written.report, report, planned
    )
    return Written(report, now, left if counted_only else max(left - 1.0, 0.0))


def _generation(report: Report) -> tuple[int, bool, str, str]:
    return (report.generation, report.loaded, report.reason, report.message)


def _route(report: Report) -> tuple[str, str, str, bool | None]:
    return (report.route, report.exit, report.cut, report.slo_met)


def _changed(before: Report, now: Report, planned: Planned) -> bool:
    if _route(before) != _route(now) or before.peer_scheme != now.peer_scheme or before.idle != now.idle:
        return True
    if _local_links_changed(before, now) or _first_requests(before) != _first_requests(now):
        return True
    if _residuals_shifted(before, now):
        return True
    if before.link is None or now.link is None:
        return before.link is not now.link
    if before.link.up != now.link.up:
        return True
    return _bandwidth_left(before.link.bandwidth, now.link.bandwidth, planned) or _round_trip_left(
        before.link.round_trip, now.link.round_trip, planned
    )


def _residuals_shifted(before: Report, now: Report) -> bool:
    """Whether the compute times of an exit are clearly others than those that were reported."""
    known = _medians(before)
    return any(
        exit_ in known and not 1 / SHIFT <= median / known[exit_] <= SHIFT
        for exit_, median in _medians(now).items()
    )


def _medians(report: Report) -> dict[str, float]:
    return {each["exit"]: each["ratios"][(len(each["ratios"]) - 1) // 2] for each in report.residuals}


def _first_requests(report: Report) -> tuple[object, ...] | None:
    """What the operator acts on: not how many inputs are kept."""
    found = report.first_requests
    return None if found is None else (bool(found["kept"]), found["attempts"], "profile" in found)


def _local_links_changed(before: Report, now: Report) -> bool:
    """Whether a link to another node went up or down, or left the band around its last report."""
    if before.local_links.keys() - now.local_links.keys():
        return True
    return any(_departed(before.local_links.get(peer), link) for peer, link in now.local_links.items())


def _departed(known: LinkReport | None, link: LinkReport) -> bool:
    """known: None if the link was not reported yet, so that it counts as up and unmeasured."""
    bandwidth, round_trip = (known.bandwidth, known.round_trip) if known is not None else (None, None)
    return (
        (known is None or known.up) != link.up
        or (link.bandwidth is not None and departs(bandwidth, link.bandwidth))
        or (link.round_trip is not None and differs(round_trip, link.round_trip))
    )


def _bandwidth_left(before: float | None, now: float | None, planned: Planned) -> bool:
    if before is None or now is None:
        return now is not None
    if planned.told_others and departs(before, now):
        return True
    return crosses((border for border in planned.borders if border > 0), before, now)


def _round_trip_left(before: float | None, now: float | None, planned: Planned) -> bool:
    """Whether the measured round trip is outside the planned band, and the reported one does not say so."""
    if now is None or not differs(planned.round_trip, now):
        return False
    return before is None or differs(before, now)
