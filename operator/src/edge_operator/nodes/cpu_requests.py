"""The processor time that runtimes request: by the weights of the plan, changed while pods run. Pure.

The kernel divides the processors of a node between pods by their requests. A change of the weights alone
starts no pod again: a running pod gets its new request in place, and pods of a later version start with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any

from edge_operator.amounts import amount
from edge_operator.cluster import Object
from edge_operator.names import CPU_WEIGHT_ANNOTATION, RUNTIME_LABEL
from edge_operator.nodes import rollouts
from edge_operator.nodes.runtimes import Runtime, runtime_of
from edge_operator.pool_nodes import number_of

CONTAINER = "runtime"


@dataclass(frozen=True, slots=True)
class Resize:
    """A new request of processor time for a runtime's pod, such as 35m, and the services that it serves."""

    pod: Object
    cpu: str
    services: frozenset[str]


def weights(placements: Iterable[Object]) -> dict[Runtime, float]:
    """Returns the weights that Placements give to runtimes; none for a runtime without one."""
    found: dict[Runtime, float] = {}
    for body in placements:
        weight = noted_weight(body)
        if weight is not None:
            runtime = runtime_of(body)
            found[runtime] = max(found.get(runtime, 0.0), weight)
    return found


def noted_weight(body: Object) -> float | None:
    """Returns the weight that an object is annotated with; None if that is not a number of at least 0."""
    text = (body["metadata"].get("annotations") or {}).get(CPU_WEIGHT_ANNOTATION)
    if text is None:
        return None
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if isfinite(weight) and weight >= 0 else None


def started_with(deployment: Object) -> float:
    """Returns the weight with which the pods of a Deployment start."""
    weight = noted_weight(deployment)
    return 1.0 if weight is None else weight


def weighted(resources: Mapping[str, Any], weight: float) -> Mapping[str, Any]:
    """Returns the resources of a container, with a request of processor time that is so many times as large.

    It is at least 1m, and less than the limit: the API server does not let a pod of quality of service
    Burstable become Guaranteed, or the reverse. Resources without such a request, or with one that is also
    the limit, stay as they are.
    """
    requests = resources.get("requests") or {}
    cores = number_of(requests.get("cpu"))
    if cores is None or weight == 1:
        return resources
    limit = number_of((resources.get("limits") or {}).get("cpu"))
    if limit is not None and cores >= limit:
        return resources
    wanted = _millicores(cores * weight)
    wanted = max(wanted if limit is None else min(wanted, round(1000 * limit) - 1), 1)
    return {**resources, "requests": {**requests, "cpu": f"{wanted}m"}}


def _millicores(cores: float) -> int:
    """Returns the request with which the kernel gives a pod the part closest to that of so many cores.

    A pod has 1024 shares for each core, rounded down: after rounding to 21m instead of 22m, a pod that is to
    have 21.5m has 4 % less than its part.
    """
    exact = round(1000 * cores, 6)
    return min((floor(exact), ceil(exact)), key=lambda m: abs(m * 1024 // 1000 - exact * 1.024))


def resizes(
    pods: Iterable[Object],
    deployments: Mapping[str, Object],
    users: Mapping[Runtime, frozenset[str]],
    weight_of: Mapping[Runtime, float],
    resources: Mapping[str, Any],
) -> list[Resize]:
    """Returns the requests of running pods to change. Pods that are being replaced stay as they are.

    deployments: by the name of the runtime. users: services by runtime. resources: of a runtime of weight 1.
    """
    found, named = [], {runtime.name: runtime for runtime in users.keys() & weight_of.keys()}
    for pod in pods:
        name = pod["metadata"]["labels"][RUNTIME_LABEL]
        if name not in named or name not in deployments or rollouts.replacing(deployments[name]):
            continue
        runtime = named[name]
        wanted = (weighted(resources, weight_of[runtime]).get("requests") or {}).get("cpu")
        running = (pod.get("status") or {}).get("phase") == "Running"
        if wanted is None or not running or pod["metadata"].get("deletionTimestamp"):
            continue
        for container in pod.get("spec", {}).get("containers") or []:
            requests = (container.get("resources") or {}).get("requests") or {}
            if container["name"] == CONTAINER and amount(requests.get("cpu")) != amount(wanted):
                found.append(Resize(pod, str(wanted), users[runtime]))
    return found


def pending(pod: Object) -> str:
    """Returns why a pod does not have its request of processor time yet; empty if it has."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        kind, reason = condition.get("type"), condition.get("reason")
        if condition.get("status") != "True" or kind not in ("PodResizePending", "PodResizeInProgress"):
            continue
        name = pod["metadata"]["name"]
        if reason == "Deferred":  # the kubelet's message changes with what other pods request
            return f"Pod {name}: its node has no room for its request of cpu: it gets it once there is"
        if reason in ("Infeasible", "Error"):
            message = str(condition.get("message", "")).strip()
            return f"Pod {name} cannot get its request of cpu: {reason}: {message}".rstrip(": ")
    return ""
