"""The status of one Placement as the API server has it: what it lacks, and the counters that it continues."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import ValidationError

from edge_api.objects import written
from edge_api.placement_reports import LinkStatus, PlacementStatus
from edge_planning.attainment import judged
from edge_runtime.assignment import Spec
from edge_runtime.json_values import Json, metadata_of
from edge_runtime.status import MESSAGE_LENGTH, Counted, LinkReport, Report, Summary, Window
from edge_runtime.status_changes import BURST, Planned, Written, after, due_in
from edge_runtime.told_links import told_links

_BEFORE_A_TABLE = Planned(interval=8.0)


class StatusReports:
    """Decides when to write the status of one Placement.

    window: the requests of the service at this node. clock: monotonic seconds.
    """

    def __init__(
        self,
        window: Window,
        clock: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        peer_scheme: str = "",
    ) -> None:
        self._window, self._clock, self._wall = window, clock, wall
        self._peer_scheme = peer_scheme
        self._uid: str | None = None
        self._written: Written | None = None
        self._before = Counted(0, 0, wall().replace(microsecond=0))
        """What was counted for this Placement before this process, less what it counted for others."""
        self._slo_met: bool | None = None
        self._measured_here: frozenset[str] = frozenset()
        """Peers of links that this runtime measures for others."""
        self._own: deque[tuple[object, ...]] = deque(maxlen=8)
        """The last reports of this process, as `_identity` tells them: watches deliver them late."""

    def found(self, document: Json) -> None:
        """Compares with the status of a Placement that the API server sent, and takes up its counters.

        The status is another's after a restart, and while the pods of two versions overlap.
        """
        uid = str(metadata_of(document).get("uid", ""))
        if uid != self._uid:
            if self._uid is not None:  # a Placement with the same name that is gone
                now = self._wall().replace(microsecond=0)
                self._before = Counted(-self._window.requests, -self._window.met, now, -self._window.failed)
            self._uid, self._written = uid, None
        told = told_links(metadata_of(document))
        self._measured_here = frozenset(peer for peer, link in told.items() if link.measured == "Here")
        status = _status(document)
        if status is None or status.since is None:
            return
        found = _report(status)
        if _identity(found) in self._own:
            return
        before, ours = self._written, self._counted()
        at, left = (before.at, before.changes_left) if before is not None else (self._clock(), BURST)
        self._written = Written(found, at, left)
        if before is None:  # add what was counted here before the API server responded
            self._before = Counted(
                self._before.requests + status.requests,
                self._before.met + status.met,
                status.since,
                self._before.failed + status.failed,
            )
        elif status.requests > ours.requests:
            window = self._window
            self._before = Counted(
                status.requests - window.requests,
                status.met - window.met,
                status.since,
                status.failed - window.failed,
            )

    def complete(self, report: Report, spec: Spec | None) -> Report:
        """Returns the report with counters and the verdict on the last minute. spec: of the loaded table."""
        summary = report.summary
        if spec is not None:
            share = spec.slo.objective_share
            self._slo_met = judged(summary.requests, summary.met, share, before=self._slo_met)
        return replace(report, counted=self._counted(), slo_met=self._slo_met, peer_scheme=self._peer_scheme)

    def due_in(self, report: Report, spec: Spec | None) -> float | None:
        """Returns the seconds until this report is to be written: 0 for now, None if it says nothing new."""
        return due_in(self._written, report, self._planned(spec), self._clock())

    def writing(self, report: Report) -> None:
        """Notes that this report is about to be written: the watch may deliver it before the response."""
        self._own.append(_identity(report))

    def wrote(self, report: Report, spec: Spec | None) -> None:
        """Notes that the API server has this report."""
        self._written = after(self._written, report, self._planned(spec), self._clock())

    def _planned(self, spec: Spec | None) -> Planned:
        if spec is None:
            return _BEFORE_A_TABLE
        return Planned(
            interval=spec.report_interval,
            borders=[float(route.min_bandwidth) for route in spec.routes],
            round_trip=spec.link.round_trip if spec.link is not None else None,
            told_others=spec.link is not None and spec.link.peer in self._measured_here,
        )

    def _counted(self) -> Counted:
        before, window = self._before, self._window
        return Counted(
            before.requests + window.requests,
            before.met + window.met,
            before.since,
            before.failed + window.failed,
        )


def _identity(report: Report) -> tuple[object, ...]:
    """Tells a report from those that another pod of the node writes, also within the same second."""
    counted = report.counted
    return (
        report.now.replace(microsecond=0),
        report.generation,
        report.loaded,
        report.reason,
        report.message[:MESSAGE_LENGTH],
        report.route,
        report.idle,
        *((counted.requests, counted.met) if counted is not None else ()),
    )


def _status(document: Json) -> PlacementStatus | None:
    """Returns the status; None without one, or if another version wrote it."""
    with contextlib.suppress(ValidationError, AttributeError):
        return PlacementStatus.model_validate(document["status"]) if document.get("status") else None
    return None


def _report(status: PlacementStatus) -> Report:
    """Returns what a status says, as far as `status_changes` compares it."""
    assert status.since is not None
    return Report(
        generation=status.observed_generation,
        loaded=status.loaded,
        message=status.message,
        reason=status.reason or "",
        route=status.active_route or "",
        exit=status.exit or "",
        cut=status.cut or "",
        link=_link(status.link) if status.link is not None else None,
        summary=Summary(0, 0, None, None),
        now=status.last_updated or status.since,
        counted=Counted(status.requests, status.met, status.since, status.failed),
        slo_met=status.slo_met,
        peer_scheme=status.peer_scheme or "",
        first_requests=written(status.first_requests) if status.first_requests is not None else None,
        local_links={link.peer: _link(link) for link in status.local_links or ()},
        idle=bool(status.idle),
    )


def _link(link: LinkStatus) -> LinkReport:
    return LinkReport(
        up=link.state == "Up",
        bandwidth=None if link.bandwidth is None else float(link.bandwidth),
        bandwidth_low=None if link.bandwidth_low is None else float(link.bandwidth_low),
        round_trip=None if link.round_trip is None else float(link.round_trip),
        measured_at=link.measured_at,
    )
