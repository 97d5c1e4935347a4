"""The SLO in a service's status: windows, error budget, burn rates, and the condition SLOMet. Pure."""

import datetime
from collections.abc import Mapping
from typing import Final

from edge_api import Placement, reasons
from edge_api.inferenceservices import CountedRequests, InferenceService, Slo, SloStatus, SloWindow
from edge_api.objects import Condition
from edge_api.quantities import Attainment, Duration
from edge_operator.conditions import Finding, condition
from edge_operator.pool import slo
from edge_operator.pool.slo import SPANS, Counters, Window
from edge_planning.attainment import attained, burn_rate, judged

JUDGED: Final[slo.Span] = "5m"
"""The window by which SLOMet is judged."""


def slo_status(
    service: InferenceService,
    placements: Mapping[str, Placement],
    more: Counters,
    now: datetime.datetime,
    unchanged_until: float,
) -> SloStatus | None:
    """Returns the SLO status with `more` requests counted by now; None before the first request.

    Without more requests it is the previous one, also if that is old: windows end when it was reported.
    unchanged_until: see `slo.extended`.
    """
    previous = service.status.slo if service.status is not None else None
    history = slo.decoded(previous.history if previous is not None else None)
    reported = previous.reported_at if previous is not None else None
    if more.requests:
        reported = now.replace(microsecond=0)
        history = slo.extended(history, more, now.timestamp(), unchanged_until)
    if not history or reported is None:
        return None
    counted = slo.total(slo.counters(placements))
    if previous is not None and previous.counted is not None and not more.requests:
        counted = Counters(previous.counted.requests, previous.counted.met)
    found = {window.span: window for window in slo.windows(history, reported.timestamp())}
    share = attained(*found[JUDGED].counted)
    interval = _interval(placements)
    return SloStatus(
        attainment=None if share is None else Attainment(share),
        p95=_slowest(placements),
        summary=_summary(share, service.spec.slo),
        error_budget_remaining=_budget_left(found["28d"].counted, service.spec.slo),
        windows=tuple(_window(window, service.spec.slo, interval) for window in found.values()),
        reported_at=reported,
        counted=CountedRequests(requests=counted.requests, met=counted.met),
        history=slo.encoded(history),
    )


def slo_met(
    service: InferenceService,
    found: SloStatus | None,
    placements: Mapping[str, Placement],
    now: datetime.datetime,
) -> Finding:
    """Returns whether the requests of the last 5 minutes met the SLO.

    Once missed, the SLO is missed for at least as long as the window that missed it. Requests count as of the
    last 5 minutes until two reports of counters are overdue.
    """
    target = service.spec.slo
    window = next((w for w in found.windows if w.window == JUDGED), None) if found is not None else None
    if found is None or found.reported_at is None or window is None or not window.requests:
        return _no_requests()
    interval = _interval(placements)
    if (now - found.reported_at).total_seconds() > max(SPANS[JUDGED], 2 * interval):
        return _no_requests()
    before = _condition(service)
    counted = slo.windows(slo.decoded(found.history), found.reported_at.timestamp())[0].counted
    was = None if before is None or before.status == "Unknown" else before.status == "True"
    met = judged(*counted, target.objective_share, before=was)
    if was is False and before is not None and before.last_transition_time is not None:
        met = met and (now - before.last_transition_time).total_seconds() >= SPANS[JUDGED]
    share = f"{attained(*counted) or 0.0:.1%}"
    rarely = f" (reported every {Duration(interval)})" if interval > SPANS[JUDGED] else ""
    said = f"{share} of the {counted.requests} requests in {JUDGED}{rarely} met {target.latency}"
    if met:
        return Finding(reasons.SLO_MET, "True", reasons.OBJECTIVE_MET, said)
    said += f"; the objective is {target.objective_share:.1%}"
    if judged(*counted, target.objective_share, before=None):
        said += f", which was missed: it counts as met again after {JUDGED} clearly above it"
    return Finding(reasons.SLO_MET, "False", reasons.OBJECTIVE_MISSED, said + _worst(placements))


def _no_requests() -> Finding:
    return Finding(reasons.SLO_MET, "Unknown", reasons.NO_REQUESTS, f"no requests in {JUDGED}")


def _condition(service: InferenceService) -> Condition | None:
    conditions = service.status.conditions if service.status is not None else ()
    return condition(conditions, reasons.SLO_MET)


def _worst(placements: Mapping[str, Placement]) -> str:
    """Returns which entry node met the SLO least in the minute before its report."""
    shares = {
        node: float(placement.status.attainment)
        for node, placement in placements.items()
        if placement.status is not None and placement.status.attainment is not None
    }
    if not shares:
        return ""
    node = min(shares, key=lambda name: shares[name])
    return f"; the worst entry node is {node} with {shares[node]:.1%}"


def _interval(placements: Mapping[str, Placement]) -> float:
    """Returns the longest time in seconds between two reports of counters."""
    return max((float(placement.spec.report_interval) for placement in placements.values()), default=0.0)


def _window(window: Window, target: Slo, interval: float) -> SloWindow:
    share = attained(*window.counted)
    rate = burn_rate(*window.counted, target.objective_share)
    age = slo.greatest_age(window.span, interval)
    return SloWindow(
        window=window.span,
        requests=window.counted.requests,
        attainment=None if share is None else Attainment(share),
        burn_rate=None if rate is None else f"{rate:.2f}".rstrip("0").rstrip("."),
        covered=Duration(round(window.covered)) if window.covered < SPANS[window.span] else None,
        age=None if age is None else Duration(age),
    )


def _budget_left(counted: Counters, target: Slo) -> Attainment | None:
    used = burn_rate(*counted, target.objective_share)
    return None if used is None else Attainment(max(0.0, 1.0 - used))


def _summary(share: float | None, target: Slo) -> str | None:
    return None if share is None else f"{Attainment(share)}/{target.objective_share:g}"


def _slowest(placements: Mapping[str, Placement]) -> Duration | None:
    reports = [placement.status for placement in placements.values() if placement.status is not None]
    return max((report.latency.p95 for report in reports if report.latency), default=None)
