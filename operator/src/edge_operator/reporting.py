"""Writes the status on change: conditions immediately, measurements rarely. Records events."""

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from edge_api import Placement, reasons
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.objects import written
from edge_operator import slo
from edge_operator.cluster import DEPLOYMENTS, INFERENCE_SERVICES, PODS, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import RUNTIME_LABEL, label_value
from edge_operator.pod_troubles import deployment_trouble, pod_trouble
from edge_operator.pools import PoolMember
from edge_operator.reading import unreadable
from edge_operator.runs import Clients, Clock, Memory, ServiceKey
from edge_operator.runtimes import runtime_of
from edge_operator.slo import Counters, Tally
from edge_operator.status import ORDER, Observation, service_status

INTERVAL = 10.0
"""Least seconds between two writes of a status in which only measurements changed."""
LATER = float("inf")


def report(
    key: ServiceKey,
    clients: Clients,
    memory: Memory,
    clock: Clock,
    *,
    body: Object,
    service: InferenceService,
    seen: Observation,
) -> float:
    """Writes the status if it changed; returns the seconds until a delayed write is due."""
    now = clock.wall()
    counted = slo.counters(seen.placements)
    memory.tally = slo.looked(memory.tally or _begun(service, counted), counted, now.timestamp())
    more, unchanged = slo.increase(memory.tally, counted), memory.tally.unchanged_until
    status = service_status(service, replace(seen, more=more, unchanged_until=unchanged), now)
    wanted = written(status)
    before = body.get("status") or {}
    if wanted == before:
        return LATER
    since = clock.monotonic() - memory.status_written
    interval = max([INTERVAL, *(float(p.spec.report_interval) for p in seen.placements.values())])
    if since < interval and _same_verdict(wanted, before):
        return interval - since
    with refusals_recorded(clients, body, memory):
        clients.cluster.apply_status(INFERENCE_SERVICES, key.namespace, key.name, wanted)
    memory.refusal = ""
    memory.status_written = clock.monotonic()
    memory.tally = slo.settled(memory.tally, counted, now.timestamp())
    for event_type, reason, message in changes(service.status, status):
        clients.cluster.record(body, event_type, reason, message)
        logging.getLogger(__name__).info("%s/%s: %s: %s", *key, reason, message)
    return LATER


def _begun(service: InferenceService, counted: Mapping[str, Counters]) -> Tally:
    """Returns the tally of an operator that has not seen this service before."""
    stored = service.status.slo.counted if service.status is not None and service.status.slo else None
    return slo.begun(counted, Counters(stored.requests, stored.met) if stored is not None else None)


@contextlib.contextmanager
def refusals_recorded(clients: Clients, body: Object, memory: Memory | None = None) -> Iterator[None]:
    """Records a refusal that no condition can report as an event, and raises it.

    memory: of the service, so that equal refusals are recorded once.
    """
    try:
        yield
    except ObjectRefusedError as error:
        if memory is None or memory.refusal != str(error):
            clients.cluster.record(body, "Warning", reasons.OBJECT_REFUSED, str(error))
        if memory is not None:
            memory.refusal = str(error)
        raise


def report_unreadable(
    key: ServiceKey, clients: Clients, clock: Clock, body: Object, wrong: Sequence[str]
) -> None:
    """Reports an invalid service in its status, and once in an event."""
    wanted = written(unreadable(InferenceServiceStatus, body, wrong, ORDER, clock.wall()))
    if wanted != body.get("status"):
        with refusals_recorded(clients, body):
            clients.cluster.apply_status(INFERENCE_SERVICES, key.namespace, key.name, wanted)
        clients.cluster.record(body, "Warning", reasons.UNREADABLE, "; ".join(wrong))


def changes(
    before: InferenceServiceStatus | None, after: InferenceServiceStatus
) -> list[tuple[str, str, str]]:
    """Returns events (type, reason, message) for conditions that became True or False.

    Progressing has none, and that nothing is wrong is one only after something was.
    """
    earlier = {c.type: (c.status, c.reason) for c in before.conditions} if before is not None else {}
    found = []
    for condition in after.conditions:
        if condition.status == "Unknown" or earlier.get(condition.type) == (
            condition.status,
            condition.reason,
        ):
            continue
        good = "False" if condition.type == reasons.DEGRADED else "True"
        was, _ = earlier.get(condition.type, ("Unknown", ""))
        if condition.type == reasons.PROGRESSING or (good == "False" == condition.status and was != "True"):
            continue
        event_type = "Normal" if condition.status == good else "Warning"
        found.append((event_type, condition.reason, f"{condition.type}: {condition.message}"))
    return found


def pod_troubles(
    clients: Clients,
    members: Sequence[PoolMember],
    placements: Mapping[str, Placement],
    alive: Collection[str],
) -> dict[str, str]:
    """Returns why pods of entry nodes do not run, by node; reads pods only if one is not Ready or loaded."""
    troubles = {}
    for node in (member.node.name for member in members):
        if node not in placements or (node in alive and placements[node].loaded):
            continue
        runtime = runtime_of(placements[node].body())
        labels = f"{RUNTIME_LABEL}={label_value(runtime.name)}"
        pods = map(pod_trouble, clients.cluster.find(PODS, runtime.namespace, labels))
        deployments = map(deployment_trouble, clients.cluster.find(DEPLOYMENTS, runtime.namespace, labels))
        if trouble := next(filter(None, (*pods, *deployments)), ""):
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
        conditions,
        status.get("readyEntries"),
    ]
