"""Placement.status as a pure function of measurements."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Final

from edge_api.quantities import format_bandwidth, format_duration

SPAN: Final = 60.0
MESSAGE_LENGTH: Final = 1000
"""Characters of a message that a status keeps."""
_MOST: Final = 20_000
_MOST_SLICES: Final = 256


class Window:
    """Requests of the last minute: arrival, latency in seconds if it was not refused, and whether the SLO was
    met.

    requests, met, failed: of all requests since the start.
    """

    def __init__(self, span: float = SPAN) -> None:
        self._span = span
        self._requests: deque[tuple[float, float | None, bool]] = deque(maxlen=_MOST)
        self.requests, self.met, self.failed = 0, 0, 0

    def add(self, at: float, seconds: float | None, *, met: bool, failed: bool = False) -> None:
        """Adds a request that arrived at second `at`. seconds: its latency; None if it was refused.

        failed: whether its route ended with an error.
        """
        self._requests.append((at, seconds, met))
        self.requests += 1
        self.met += met
        self.failed += failed

    def summary(self, now: float) -> Summary:
        """Summary of the window at `now`."""
        while self._requests and self._requests[0][0] < now - self._span:
            self._requests.popleft()
        times = sorted(seconds for _, seconds, _ in self._requests if seconds is not None)
        met = sum(r[2] for r in self._requests)
        return Summary(len(self._requests), met, quantile(times, 0.5), quantile(times, 0.95))


@dataclass(slots=True)
class Comparisons:
    """Requests whose outputs by both revisions were compared, of one candidate since the start."""

    candidate: str = ""
    compared: int = 0
    agreed: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Number of requests, number within the SLO, and latency quantiles in seconds; None without responses."""

    requests: int
    met: int
    p50: float | None
    p95: float | None


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank quantile of ordered values; None for an empty sequence."""
    if not ordered:
        return None
    rank = max(1, -(-int(share * 1000) * len(ordered) // 1000))
    return ordered[rank - 1]


@dataclass(frozen=True, slots=True)
class LinkReport:
    """The measured link: level and low quantile in bit/s, round trip in seconds; None if unknown."""

    up: bool
    bandwidth: float | None
    bandwidth_low: float | None
    round_trip: float | None
    measured_at: datetime | None


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests of a Placement, how many of them met the SLO, and since when they are counted."""

    requests: int
    met: int
    since: datetime
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the status reports.

    slo_met: None if there were no requests in the last minute. peer_scheme: HTTPS with ports for other nodes.
    unpacked: digests of the slices whose weights are not packed. idle: whether the sessions were let go.
    load_time: seconds that the last first request waited for one; None if none did.
    """

    generation: int
    loaded: bool
    message: str
    route: str
    exit: str
    cut: str
    link: LinkReport | None
    summary: Summary
    now: datetime
    reason: str = ""
    residuals: Sequence[Mapping[str, Any]] = ()
    shapes: Sequence[Mapping[str, Any]] = ()
    counted: Counted | None = None
    slo_met: bool | None = None
    peer_scheme: str = ""
    local_links: Mapping[str, LinkReport] = field(default_factory=dict)
    unpacked: Sequence[str] = ()
    first_requests: Mapping[str, Any] | None = None
    idle: bool = False
    load_time: float | None = None
    comparisons: Comparisons | None = None


def status_document(report: Report) -> dict[str, Any]:
    """The status in the form of the API. A value of None removes an unknown field."""
    link, summary, counted = report.link, report.summary, report.counted
    first = report.first_requests
    p50, p95 = duration(summary.p50), duration(summary.p95)
    return {
        "observedGeneration": report.generation,
        "loaded": report.loaded,
        "reason": report.reason or None,
        "message": report.message[:MESSAGE_LENGTH],
        "activeRoute": report.route or None,
        "exit": report.exit or None,
        "cut": report.cut or None,
        "link": None if link is None else _link(link),
        "localLinks": [{"peer": peer} | _stated(each) for peer, each in report.local_links.items()] or None,
        "latency": None if p50 is None or p95 is None else {"p50": p50, "p95": p95},
        "residuals": list(report.residuals) or None,
        "shapes": list(report.shapes) or None,
        "firstRequests": None if first is None else {"profile": None, **first},
        "requests": counted.requests if counted is not None else 0,
        "met": counted.met if counted is not None else 0,
        "failed": counted.failed if counted is not None else 0,
        "shadow": _shadow(report.comparisons),
        "since": _rfc3339(counted.since) if counted is not None else None,
        "sloMet": report.slo_met,
        "attainment": f"{summary.met / summary.requests:.3f}" if summary.requests else None,
        "peerScheme": report.peer_scheme or None,
        "unpacked": list(report.unpacked[:_MOST_SLICES]) or None,
        "idle": report.idle or None,
        "loadTime": duration(report.load_time),
        "lastUpdated": _rfc3339(report.now),
    }


def _shadow(found: Comparisons | None) -> dict[str, Any] | None:
    if found is None or not found.compared:
        return None
    return {"candidate": found.candidate, "compared": found.compared, "agreed": found.agreed}


def _link(link: LinkReport) -> dict[str, Any]:
    return {
        "state": "Up" if link.up else "Down",
        "bandwidth": _bandwidth(link.bandwidth),
        "bandwidthLow": _bandwidth(link.bandwidth_low),
        "roundTrip": duration(link.round_trip),
        "measuredAt": None if link.measured_at is None else _rfc3339(link.measured_at),
    }


def _stated(link: LinkReport) -> dict[str, Any]:
    """As an item of a list, which a merge patch replaces as a whole: without fields of value None."""
    return {name: value for name, value in _link(link).items() if value is not None}


def duration(seconds: float | None) -> str | None:
    """A measured time in the form of the API; None if it is unknown or not finite, 0s if it is negative.

    A clock that is set back or a counter of the kernel must not prevent a status from being written.
    """
    return format_duration(max(seconds, 0.0)) if seconds is not None and isfinite(seconds) else None


def _bandwidth(rate: float | None) -> str | None:
    return format_bandwidth(rate) if rate is not None and isfinite(rate) and rate >= 0 else None


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
