"""Whether the runtime of a service at an entry node runs: by the Ready condition of its pod.

The kubelet judges it, and the Deployment counts it; the clock of the entry node plays no part.
"""

from collections.abc import Iterable

from edge_operator.cluster import DEPLOYMENTS, Cluster, Object
from edge_operator.names import entry_name


def runtime_deployment(cluster: Cluster, namespace: str, service: str, node: str) -> Object | None:
    """Returns the Deployment whose pod runs the service at the node."""
    return cluster.get(DEPLOYMENTS, namespace, entry_name(service, node))


def alive(cluster: Cluster, namespace: str, service: str, nodes: Iterable[str]) -> frozenset[str]:
    """Returns the nodes at which the pod of the service's runtime is Ready."""
    found = {node: runtime_deployment(cluster, namespace, service, node) for node in nodes}
    return frozenset(
        node
        for node, body in found.items()
        if body is not None and (body.get("status") or {}).get("readyReplicas", 0) > 0
    )
