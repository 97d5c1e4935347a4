"""Whether the runtime of a service at an entry node runs: by the Ready condition of its pod.

The kubelet judges it, and the Deployment counts it; the clock of the entry node plays no part.
"""

from collections.abc import Mapping

from edge_api import Placement
from edge_operator.cluster import DEPLOYMENTS, Cluster
from edge_operator.rollouts import has_ready_pod
from edge_operator.runtimes import is_current, runtime_of


def alive(cluster: Cluster, namespace: str, placements: Mapping[str, Placement]) -> frozenset[str]:
    """Returns the nodes at which the pod is Ready that serves the Placement there. placements: by node."""
    found = {
        node: cluster.get(DEPLOYMENTS, namespace, _deployment(placement))
        for node, placement in placements.items()
    }
    return frozenset(node for node, body in found.items() if has_ready_pod(body))


def _deployment(placement: Placement) -> str:
    """Returns the name of the Deployment. Those of earlier versions are named like their Placement."""
    body = placement.body()
    return runtime_of(body).name if is_current(body) else placement.metadata.name
