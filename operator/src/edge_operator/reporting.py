"""Writes the status on change: conditions immediately, measurements every few seconds. Records events."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

from edge_api import Placement, reasons
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.objects import written
from edge_operator.cluster import DEPLOYMENTS, INFERENCE_SERVICES, PODS, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import NODE_LABEL, SERVICE_LABEL, label_value
from edge_operator.pod_troubles import deployment_trouble, pod_trouble
from edge_operator.pools import PoolMember
from edge_operator.reading import unreadable
from edge_operator.runs import Clients, Clock, Memory, ServiceKey
from edge_operator.status import ORDER, Observation, service_status

INTERVAL = 5.0
"""Seconds between two writes of a status in which only measurements changed."""
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
    status = service_status(service, seen, clock.wall())
    wanted = written(status)
    before = body.get("status") or {}
    if wanted == before:
        return LATER
    since = clock.monotonic() - memory.status_written
    if since < INTERVAL and _same_verdict(wanted, before):
        return INTERVAL - since
    with refusals_recorded(clients, body, memory):
        clients.cluster.apply_status(INFERENCE_SERVICES, key.namespace, key.name, wanted)
    memory.refusal = ""
    memory.status_written = clock.monotonic()
    for event_type, reason, message in changes(service.status, status):
        clients.cluster.record(body, event_type, reason, message)
        logging.getLogger(__name__).info("%s/%s: %s: %s", *key, reason, message)
    return LATER


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
    """Returns events (type, reason, message) for conditions that became True or False."""
    earlier = {c.type: (c.status, c.reason) for c in before.conditions} if before is not None else {}
    found = []
    for condition in after.conditions:
        if condition.status == "Unknown" or earlier.get(condition.type) == (
            condition.status,
            condition.reason,
        ):
            continue
        event_type = "Normal" if condition.status == "True" else "Warning"
        found.append((event_type, condition.reason, f"{condition.type}: {condition.message}"))
    return found


def pod_troubles(
    clients: Clients, key: ServiceKey, members: Sequence[PoolMember], placements: Mapping[str, Placement]
) -> dict[str, str]:
    """Returns why pods of silent entry nodes do not run, by node; reads pods only if a node is silent."""
    silent = [
        m.node.name for m in members if m.node.name in placements and not _loaded(placements[m.node.name])
    ]
    if not silent:
        return {}
    labels = f"{SERVICE_LABEL}={label_value(key.name)}"
    found = [(pod, pod_trouble(pod)) for pod in clients.cluster.find(PODS, key.namespace, labels)]
    deployments = clients.cluster.find(DEPLOYMENTS, key.namespace, labels)
    found += [(deployment, deployment_trouble(deployment)) for deployment in deployments]
    troubles = {body["metadata"]["labels"].get(NODE_LABEL, ""): trouble for body, trouble in found if trouble}
    return {node: trouble for node in silent if (trouble := troubles.get(label_value(node), ""))}


def _loaded(placement: Placement) -> bool:
    return placement.status is not None and placement.status.loaded


def _same_verdict(wanted: Object, before: Object) -> bool:
    return _verdict(wanted) == _verdict(before)


def _verdict(status: Object) -> list[object]:
    """Returns the fields written immediately: the model, conditions without messages, entry nodes."""
    fields = ("type", "status", "reason", "observedGeneration")
    conditions = [[condition.get(field) for field in fields] for condition in status.get("conditions", [])]
    return [
        status.get("observedGeneration"),
        status.get("model"),
        conditions,
        [entry["node"] for entry in status.get("entries", [])],
    ]
