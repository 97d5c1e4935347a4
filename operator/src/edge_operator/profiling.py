"""Measurements of a model on the device classes of a pool: known, fetched, or taken by a Job."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_api import reasons
from edge_api.devicepools import DevicePoolSpec
from edge_api.objects import written
from edge_operator import manifests
from edge_operator.cluster import JOBS, PODS, Object
from edge_operator.conditions import Blocked
from edge_operator.names import (
    EXITS_ANNOTATION,
    MODEL_LABEL,
    NODE_LABEL,
    ROLE_LABEL,
    label_value,
    profile_job_name,
)
from edge_operator.pools import Node, sites
from edge_operator.runs import Clients
from edge_operator.settings import Settings
from edge_operator.store import DeviceProfile, ModelCard
from edge_operator.workloads import profile_job
from edge_planning.errors import BadProfileError

_POLL = 2.0


@dataclass(frozen=True, slots=True)
class Measuring:
    """A device class that is not measured yet, and why. failed: the measurement failed, not just pending."""

    device_class: str
    message: str
    failed: bool = False
    reason: str = reasons.PROFILING


def fetch_profiles(
    clients: Clients, card: ModelCard, classes: Iterable[str], known: Mapping[str, DeviceProfile]
) -> dict[str, DeviceProfile]:
    """Returns the profiles that have every exit of the metadata, by device class: known, or from the store.

    A profile that lacks an exit was measured for a service that names other exits, and is ignored.
    Raises StoreError.
    """
    found = {name: usable for name, each in known.items() if (usable := _usable(each, card))}
    for device_class in sorted(set(classes) - set(found)):
        profile = clients.store.profile(card.digest, device_class)
        if profile is not None and (usable := _usable(profile, card)):
            found[device_class] = usable
    return found


def _usable(profile: DeviceProfile, card: ModelCard) -> DeviceProfile | None:
    try:
        return manifests.of_exits(profile, card)
    except BadProfileError:
        return None


def measure(
    clients: Clients,
    settings: Settings,
    card: ModelCard,
    missing: Iterable[str],
    pool: DevicePoolSpec,
    nodes: Iterable[Node],
) -> Blocked | None:
    """Starts a Job for each class without a profile. Returns why planning waits; None if none is missing."""
    every = tuple(nodes)
    found = [_measure(clients, settings, card, device_class, pool, every) for device_class in sorted(missing)]
    if not found:
        return None
    failed = [state for state in found if state.failed]
    message = "; ".join(state.message for state in failed or found)
    reason = failed[0].reason if failed else reasons.PROFILING
    return Blocked(reasons.PROFILED, reason, message, transient=not failed, again=30.0 if failed else _POLL)


def _measure(
    clients: Clients,
    settings: Settings,
    card: ModelCard,
    device_class: str,
    pool: DevicePoolSpec,
    nodes: tuple[Node, ...],
) -> Measuring:
    name = profile_job_name(device_class, card.digest)
    job = clients.cluster.get(JOBS, settings.namespace, name)
    if job is None:
        return _start(clients, settings, card, device_class, pool, nodes)
    node = job["metadata"].get("labels", {}).get(NODE_LABEL, "")
    where = f"device class {device_class} on {node}"
    ended = _ended(job)
    if ended is None:
        return Measuring(device_class, f"profiling {where}{_pod_trouble(clients, settings, name)}")
    if ended == "Complete":
        return _measured(clients, settings, card, job, device_class, where)
    said = _last_words(clients, settings, name) or _failure(job)
    message = (
        f"profiling {where} failed: {said}: read the log of Job {settings.namespace}/{name}; it is retried "
        "five minutes after it ended, or at once if you delete the Job"
    )
    return Measuring(device_class, message, failed=True, reason=reasons.PROFILING_FAILED)


def _measured(
    clients: Clients, settings: Settings, card: ModelCard, job: Object, device_class: str, where: str
) -> Measuring:
    """Handles a Job that succeeded but whose measurements are missing or incomplete."""
    profile = clients.store.profile(card.digest, device_class)
    if profile is not None and _usable(profile, card) is not None:
        return Measuring(device_class, f"reading the measurements of {where}")
    asked = (job["metadata"].get("annotations") or {}).get(EXITS_ANNOTATION)
    if profile is not None and asked == _exits(card):
        return Measuring(
            device_class,
            f"the measurements of {where} lack exits of this service, although they were made for it: "
            f"delete Job {settings.namespace}/{job['metadata']['name']} to measure again",
            failed=True,
            reason=reasons.PROFILE_INCOMPLETE,
        )
    # The store lost them, or they were taken for services with other exits: measure all exits again.
    clients.cluster.delete(JOBS, settings.namespace, job["metadata"]["name"])
    return Measuring(device_class, f"profiling {where} again, with the exits of this service")


def _exits(card: ModelCard) -> str:
    """Returns a fingerprint of a model's exits."""
    outputs = sorted(exit_.output for exit_ in card.exits)
    return hashlib.sha256(json.dumps(outputs).encode()).hexdigest()[:16]


def _start(
    clients: Clients,
    settings: Settings,
    card: ModelCard,
    device_class: str,
    pool: DevicePoolSpec,
    nodes: tuple[Node, ...],
) -> Measuring:
    candidates = sites(pool, device_class, nodes)
    if not candidates:
        message = (
            f"device class {device_class}: no Ready node has the labels of its nodeSelector: label a node, "
            "or bring one back"
        )
        return Measuring(device_class, message, failed=True, reason=reasons.NO_NODE_TO_PROFILE)
    busy = _busy(clients, settings)
    free = [member for member in candidates if label_value(member.node.name) not in busy]
    if not free:
        # Concurrent measurements on one node would slow each other down.
        where = ", ".join(member.node.name for member in candidates)
        return Measuring(
            device_class, f"device class {device_class} waits for another measurement on {where}"
        )
    node = free[0].node
    job = profile_job(
        device_class,
        card.digest,
        node.name,
        node.hostname,
        settings,
        _exits(card),
        tolerations=[written(each) for each in free[0].tolerations],
    )
    clients.cluster.apply(job)
    return Measuring(device_class, f"profiling device class {device_class} on {node.name}")


def _busy(clients: Clients, settings: Settings) -> set[str]:
    jobs = clients.cluster.find(JOBS, settings.namespace, f"{ROLE_LABEL}=profiler,{MODEL_LABEL}")
    return {job["metadata"]["labels"].get(NODE_LABEL, "") for job in jobs if _ended(job) is None}


def _ended(job: Object) -> str | None:
    conditions = job.get("status", {}).get("conditions") or []
    return next(
        (c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None
    )


def _failure(job: Object) -> str:
    conditions = job.get("status", {}).get("conditions") or []
    return next((c.get("message", "") for c in conditions if c["type"] == "Failed"), "") or "no cause given"


def _pods(clients: Clients, settings: Settings, job: str) -> list[Object]:
    pods = clients.cluster.find(PODS, settings.namespace, f"job-name={job}")
    return sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


def _last_words(clients: Clients, settings: Settings, job: str) -> str:
    for pod in reversed(_pods(clients, settings, job)):
        lines = clients.cluster.log_tail(settings.namespace, pod["metadata"]["name"]).strip().splitlines()
        if lines:
            return lines[-1].strip()
    return ""


def _pod_trouble(clients: Clients, settings: Settings, job: str) -> str:
    for pod in reversed(_pods(clients, settings, job)):
        trouble = pod_trouble(pod)
        if trouble:
            return f" ({trouble})"
    return ""


def pod_trouble(pod: Object) -> str:
    """Returns why a pod does not run, as Kubernetes reports it; empty if it runs."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
    return ""
