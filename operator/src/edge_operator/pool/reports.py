"""Decides when a service's status is written: conditions at once, measurements rarely. Pure."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_api import Placement, reasons
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.objects import written
from edge_operator.cluster import Object
from edge_operator.conditions import STEPS
from edge_operator.nodes.runtimes import runtime_serving
from edge_operator.pool import rollout_reports, slo
from edge_operator.pool.actions import Event, SetStatus
from edge_operator.pool.drafts import Now
from edge_operator.pool.pod_troubles import deployment_trouble, pod_trouble
from edge_operator.pool.slo import Counters, Tally
from edge_operator.pool.states import ServiceState
from edge_operator.pool.status import ORDER, Observation, service_status
from edge_operator.pool_nodes import PoolMember
from edge_operator.reading import unreadable

INTERVAL = 10.0
"""Least seconds between two writes of a status in which only measurements changed."""
AGING = 60.0
"""Seconds after which a status with recent requests is computed again, since its windows move."""
NEVER = float("inf")
_UNREAD = tuple(kind for kind in ORDER if kind not in (reasons.IDLE, reasons.RUNTIMES_UPDATED))
_NEWS_IF_TRUE = (reasons.DEGRADED, reasons.IDLE)
"""Conditions that are news once they are True, and False only after that."""
_COUNTED = ("compared", "agreed")
"""Fields of status.rollout that are not written at once."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """What the reports of a service have come to.

    Attributes:
        tally: Requests that were counted since the status was written.
        written_at: When it was written, in seconds of the monotonic clock.
        awaited: The status that is being written; once it is seen, `after` is the tally.
    """

    tally: Tally | None = None
    written_at: float = float("-inf")
    awaited: Object | None = None
    after: Tally | None = None
    decided_at: float = float("-inf")


def report(
    before: Reporting, own: ServiceState, service: InferenceService, seen: Observation, now: Now
) -> tuple[SetStatus | None, Reporting, float]:
    """Returns the status to write, if any, and the seconds until a delayed write is due."""
    at = now.wall.timestamp()
    counted = slo.counters(seen.placements)
    status_before = own.body.get("status") or {}
    if before.awaited is not None and before.awaited == status_before:
        before = Reporting(before.after, before.decided_at)
    tally = slo.looked(before.tally or _begun(service, counted), counted, at)
    before = replace(before, tally=tally)
    more = slo.increase(tally, counted)
    observation = replace(seen, more=more, unchanged_until=tally.unchanged_until)
    status = service_status(service, observation, now.wall)
    wanted = written(status)
    if wanted == status_before:
        return None, before, _aging(status)
    since = now.monotonic - before.written_at
    interval = max([INTERVAL, *(float(p.spec.report_interval) for p in seen.placements.values())])
    if since < interval and _same_verdict(wanted, status_before):
        return None, before, interval - since
    settled = slo.settled(tally, counted, at)
    after = replace(before, awaited=wanted, after=settled, decided_at=now.monotonic)
    rolled = rollout_reports.progress(service.status.rollout if service.status else None, seen.rollout)
    events = (Event(own.body, *event) for event in (*rolled, *changes(service.status, status)))
    return SetStatus(own.body, wanted, tuple(events)), after, _aging(status)


def report_unreadable(own: ServiceState, wrong: Sequence[str], now: datetime.datetime) -> SetStatus | None:
    """Returns the status of an invalid service, if it is not written yet, with an event."""
    wanted = written(unreadable(InferenceServiceStatus, own.body, wrong, _UNREAD, now))
    if wanted == own.body.get("status"):
        return None
    event = Event(own.body, "Warning", reasons.UNREADABLE, "; ".join(wrong))
    return SetStatus(own.body, wanted, (event,))


def _begun(service: InferenceService, counted: Mapping[str, Counters]) -> Tally:
    """Returns the tally of an operator that has not seen this service before."""
    stored = service.status.slo.counted if service.status is not None and service.status.slo else None
    return slo.begun(counted, Counters(stored.requests, stored.met) if stored is not None else None)


def _aging(status: InferenceServiceStatus) -> float:
    """Returns the seconds until windows can tell something else although no report came."""
    met = next((c for c in status.conditions if c.type == reasons.SLO_MET), None)
    return AGING if met is not None and met.status != "Unknown" else NEVER


def changes(
    before: InferenceServiceStatus | None, after: InferenceServiceStatus
) -> list[tuple[str, str, str]]:
    """Returns events (type, reason, message) for conditions that became True or False.

    Progressing has none, and that nothing is wrong is one only after something was. Of steps that are done
    together, the last one has an event, or Ready if it is True with them: it tells of the steps before it.
    """
    earlier = {c.type: (c.status, c.reason) for c in before.conditions} if before is not None else {}
    found, implied = [], _implied(earlier, after)
    for condition in after.conditions:
        if condition.status == "Unknown" or earlier.get(condition.type) == (
            condition.status,
            condition.reason,
        ):
            continue
        if condition.type in implied:
            continue
        good = "False" if condition.type in _NEWS_IF_TRUE else "True"
        was, _ = earlier.get(condition.type, ("Unknown", ""))
        if condition.type == reasons.PROGRESSING or (good == "False" == condition.status and was != "True"):
            continue
        normal = condition.status == good or condition.type == reasons.IDLE
        event_type = "Normal" if normal else "Warning"
        found.append((event_type, condition.reason, f"{condition.type}: {condition.message}"))
    return found


def _implied(earlier: Mapping[str, tuple[str, str]], after: InferenceServiceStatus) -> set[str]:
    """Returns the conditions that became True together with one that tells of them."""
    became = {
        each.type
        for each in after.conditions
        if each.status == "True" and earlier.get(each.type, ("",))[0] != "True"
    }
    order = [*(step for step in STEPS if step in became), *({reasons.READY} & became)]
    _, reason = earlier.get(reasons.ROLLED_OUT, ("", reasons.WAITING))
    first = {reasons.ROLLED_OUT} if reason == reasons.WAITING else set()  # there was no revision before it
    return set(order[:-1]) | first


def pod_troubles(
    own: ServiceState,
    members: Sequence[PoolMember],
    placements: Mapping[str, Placement],
    alive: Collection[str],
) -> dict[str, str]:
    """Returns why pods of entry nodes do not run, by node, where one is not Ready or has not loaded."""
    troubles = {}
    for node in (member.node.name for member in members):
        if node not in placements or (node in alive and placements[node].loaded):
            continue
        name = runtime_serving(placements[node]).name
        deployment = own.deployments.get(name)
        pods = map(pod_trouble, own.pods.get(name, ()))
        refused = map(deployment_trouble, [deployment] if deployment is not None else [])
        if trouble := next(filter(None, (*pods, *refused)), ""):
            troubles[node] = trouble
    return troubles


def _same_verdict(wanted: Object, before: Object) -> bool:
    return _verdict(wanted) == _verdict(before)


def _verdict(status: Object) -> list[object]:
    """Returns the fields written immediately: the model, conditions without messages, numbers of entries."""
    fields = ("type", "status", "reason", "observedGeneration")
    conditions = [[condition.get(field) for field in fields] for condition in status.get("conditions", [])]
    return [
        status.get("observedGeneration"),
        status.get("model"),
        {key: value for key, value in (status.get("rollout") or {}).items() if key not in _COUNTED},
        conditions,
        status.get("readyEntries"),
    ]
