"""Whether the runtime of a service at an entry node runs: by the Ready condition of its pod.

The kubelet judges it, and the Deployment counts it; the clock of the entry node plays no part.
"""

from collections.abc import Mapping

from edge_api import Placement
from edge_api.names import placement_name
from edge_operator.cluster import Object
from edge_operator.nodes.rollouts import has_ready_pod
from edge_operator.nodes.runtimes import is_current, runtime_of, runtime_serving


def alive(deployments: Mapping[str, Object], placements: Mapping[str, Placement]) -> frozenset[str]:
    """Returns the nodes at which the pod is Ready that serves the Placement there.

    deployments: by name. placements: by node.
    """
    return frozenset(
        node
        for node, placement in placements.items()
        if has_ready_pod(deployments.get(_deployment_serving(placement)))
    )


def _deployment_serving(placement: Placement) -> str:
    spec, name = placement.spec, placement.metadata.name
    return runtime_serving(placement).name if name == placement_name(spec.service, spec.node) else name


def deployment_of(placement: Object) -> str:
    """Returns the name of the Deployment. Those of earlier versions are named like their Placement."""
    name: str = placement["metadata"]["name"]
    return runtime_of(placement).name if is_current(placement) else name
