"""Checks of the caches of nodes. Pure."""

from collections.abc import Iterator
from typing import Final

from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.installation import OPERATOR
from edge_cli.doctor.states import ClusterState, condition_of, labels
from edge_operator.authority.upkeep import NODE_CACHE
from edge_operator.cluster import DEPLOYMENTS, PODS, Object
from edge_operator.names import ROLE_LABEL
from edge_operator.nodes.workloads import NODE_CACHE_VARIABLE

_NAME: Final = "app.kubernetes.io/name"
_NAMED: Final = 3
"""Nodes that a sentence names; the others are counted."""


def _nodes_without_agent(state: ClusterState) -> Iterator[Found]:
    operator = next((each for each in state.of(DEPLOYMENTS) if labels(each).get(_NAME) == OPERATOR), None)
    if operator is None or not _enabled(operator):
        return
    pods = state.of(PODS)
    agents = {_node(pod) for pod in pods if labels(pod).get(_NAME) == NODE_CACHE and _ready(pod)}
    runtimes = {_node(pod) for pod in pods if labels(pod).get(ROLE_LABEL) == "runtime"} - {""}
    if missing := sorted(runtimes - agents):
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        said = f"no agent of the cache is ready on {', '.join(missing[:_NAMED])}{more}, which have runtimes"
        yield at(operator, said)


def _enabled(operator: Object) -> bool:
    """Whether the operator gives runtimes the address of a cache."""
    containers = operator["spec"]["template"]["spec"].get("containers") or ()
    return any(
        variable["name"] == NODE_CACHE_VARIABLE for each in containers for variable in each.get("env") or ()
    )


def _node(pod: Object) -> str:
    return str(pod["spec"].get("nodeName") or "")


def _ready(pod: Object) -> bool:
    return condition_of(pod, "Ready").get("status") == "True"


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        "EI0213",
        "installation",
        "warning",
        "every node with runtimes has an agent of the cache, if nodes have caches",
        "Runtimes of these nodes fetch slices from the model store, after 2 s in which no agent responds.",
        "Read `kubectl describe daemonset edge-node-cache` in the operator's namespace: its Pod Security "
        "standard can refuse hostPath; set nodeCache.nodeSelector and nodeCache.tolerations for the nodes, "
        "or nodeCache.enabled=false.",
        _nodes_without_agent,
        reads=(DEPLOYMENTS, PODS),
    ),
)
