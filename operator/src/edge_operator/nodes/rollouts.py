"""Which Deployments of runtimes get a new version now, and how. Pure.

New versions are rolled out to a tenth of a namespace's nodes at a time, one at least: a version that does
not start stops at the first nodes, and one with which services fare worse (`version_watch`) is returned from
there. A Deployment without a ready pod, or on a node that is not Ready, is changed at once, since nothing is
lost there.
"""

from collections.abc import Mapping, Sequence
from math import inf

from edge_operator.cluster import Object
from edge_operator.pool_nodes import number_of

IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
"""The old pod is terminated first: its node has no room for two."""
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
"""The new pod is ready before the old one is terminated."""
_SHARE = 10


def lacks_room(pod: Object, memory: float = inf) -> bool:
    """Whether the pod waits for resources of its node that other pods have.

    memory: bytes of the node that pods can use. A pod that requests more than that does not wait for others:
    it would not start in place of another one either.
    """
    requests = [
        number_of((container.get("resources") or {}).get("requests", {}).get("memory"))
        for container in pod.get("spec", {}).get("containers") or []
    ]
    return sum(filter(None, requests)) <= memory and any(
        condition.get("type") == "PodScheduled"
        and condition.get("status") == "False"
        and condition.get("reason") == "Unschedulable"
        and "Insufficient" in condition.get("message", "")
        for condition in pod.get("status", {}).get("conditions") or []
    )


def has_ready_pod(deployment: Object | None) -> bool:
    """Whether a pod of the Deployment is ready; False if it does not exist."""
    return deployment is not None and (deployment.get("status") or {}).get("readyReplicas", 0) > 0


def replacing(deployment: Object) -> bool:
    """Whether the Deployment still has a pod of an older version, or has not seen its newest version yet."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < (deployment["metadata"].get("generation") or 0):
        return True
    replicas, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    in_place = deployment["spec"].get("strategy") == IN_PLACE
    return bool(replicas > updated or (in_place and not has_ready_pod(deployment)))


def strategy(deployment: Object | None, *, crowded: bool) -> Object:
    """Returns how the pod is to be replaced. crowded: whether its successor finds no room on the node."""
    if deployment is None or not replacing(deployment):
        return SURGE
    in_place = deployment["spec"].get("strategy") == IN_PLACE
    return IN_PLACE if in_place or (crowded and has_ready_pod(deployment)) else SURGE


def next_updates(
    outdated: Sequence[str],
    deployments: Mapping[str, Object],
    ready: frozenset[str],
    watched: frozenset[str] = frozenset(),
) -> frozenset[str]:
    """Returns which of the outdated Deployments get the new version now, by name.

    deployments: all of the namespace's runtimes. ready: the names of those on nodes that are Ready. watched:
    of those whose version is not judged yet.
    """
    waiting = set(outdated)
    free = {name for name in waiting if name not in ready or not has_ready_pod(deployments[name])}
    slots = max(1, len(deployments) // _SHARE)
    taken = sum(
        name in ready and name not in waiting and (replacing(body) or name in watched)
        for name, body in deployments.items()
    )
    return frozenset(free) | frozenset(sorted(waiting - free)[: max(0, slots - taken)])
