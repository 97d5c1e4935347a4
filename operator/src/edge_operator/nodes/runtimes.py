"""Which runtimes a namespace needs, and where each of them runs. Pure.

A runtime is one process: it serves all Shared services of a namespace at a node, or one Dedicated service.
It is needed where a Placement is, so that services and nodes can come and go without a change of its pods.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from edge_api import Placement
from edge_api.devicepools import NodeGroup, SharedMemory
from edge_api.names import dedicated_service_name, placement_name, runtime_service_name
from edge_api.objects import written
from edge_api.policies import Isolation
from edge_operator.cluster import Object
from edge_operator.names import FETCHER, ISOLATION_LABEL, ROLE_LABEL, RUNTIME_LABEL, SERVICE_LABEL
from edge_operator.ownership import Claim, owning_group
from edge_operator.pool_nodes import Node


@dataclass(frozen=True, slots=True, order=True)
class Runtime:
    """A runtime of a namespace at a node. service: the only one that it serves; empty: all Shared ones."""

    namespace: str
    node: str
    service: str = ""

    @property
    def name(self) -> str:
        """The name of its Deployment and of its Service, and its label on pods."""
        if self.service:
            return dedicated_service_name(self.service, self.node)
        return runtime_service_name(self.node)

    @property
    def isolation(self) -> Isolation:
        """The isolation of the services that it serves."""
        return "Dedicated" if self.service else "Shared"


@dataclass(frozen=True, slots=True)
class Host:
    """What a pod for a node needs to know of it.

    tolerations, execution_providers, image, shared_memory: of the group that the node is in. taints: of the
    node. memory: bytes that pods can use.
    """

    hostname: str
    ready: bool
    tolerations: tuple[Object, ...] = ()
    taints: tuple[Object, ...] = ()
    memory: float = inf
    execution_providers: tuple[str, ...] = ()
    image: str = ""
    shared_memory: SharedMemory | None = None


def runtime_of(placement: Object) -> Runtime:
    """Returns the runtime that a Placement is for."""
    spec = placement["spec"]
    dedicated = spec.get("isolation") == "Dedicated"
    return Runtime(placement["metadata"]["namespace"], spec["node"], spec["service"] if dedicated else "")


def runtime_serving(placement: Placement) -> Runtime:
    """Returns the runtime that a Placement is for, as read."""
    spec = placement.spec
    alone = spec.service if spec.isolation == "Dedicated" else ""
    return Runtime(placement.metadata.namespace or "", spec.node, alone)


def isolations(services: Iterable[Object]) -> dict[str, Isolation]:
    """Returns the isolation in the spec of each service, by name; without services that are being deleted."""
    return {
        body["metadata"]["name"]: "Dedicated" if body["spec"].get("isolation") == "Dedicated" else "Shared"
        for body in services
        if not body["metadata"].get("deletionTimestamp")
    }


def hosts(nodes: Iterable[Node], claims: Sequence[Claim]) -> dict[str, Host]:
    """Returns the hosts by the name of their node. claims: of all pools, from the oldest."""
    return {node.name: _host(node, owning_group(node, claims)) for node in nodes}


def _host(node: Node, group: NodeGroup | None) -> Host:
    if group is None:
        return Host(node.hostname, node.ready, (), node.taints, node.memory)
    return Host(
        node.hostname,
        node.ready,
        tuple(written(each) for each in group.tolerations or ()),
        node.taints,
        node.memory,
        group.execution_providers or (),
        group.image or "",
        group.shared_memory,
    )


def live_isolation(client_service: Object | None) -> Isolation | None:
    """Returns which runtimes the Service of an InferenceService selects.

    Returns None without such a Service, and if it selects the pods of an earlier version.
    """
    if client_service is None:
        return None
    found = (client_service["spec"].get("selector") or {}).get(ISOLATION_LABEL)
    return found if found in ("Shared", "Dedicated") else None


def published_isolation(specified: Isolation, client_service: Object | None, *, placed: bool) -> Isolation:
    """Returns the isolation of the runtimes that a service's tables are for.

    Shared runtimes keep the service until its clients reach its Dedicated ones, which load the same table.
    specified: in the service's spec. placed: whether the service has tables.
    """
    if placed and specified == "Dedicated" and live_isolation(client_service) == "Shared":
        return "Shared"
    return specified


def is_earlier(body: Object) -> bool:
    """Whether an earlier version made the object for one service at one node, or for the pods of one."""
    labels = body["metadata"].get("labels") or {}
    mine = RUNTIME_LABEL in labels or labels.get(ROLE_LABEL) == FETCHER
    return SERVICE_LABEL in labels and not mine


def is_current(placement: Object) -> bool:
    """Whether the Placement has the name that this version gives it."""
    spec = placement["spec"]
    return bool(placement["metadata"]["name"] == placement_name(spec["service"], spec["node"]))


def has_switched(placement: Object) -> bool:
    """Whether the runtime has loaded the table of the newest spec, of an object that may be invalid."""
    report = placement.get("status") or {}
    reported = report.get("observedGeneration") or 0
    return bool(report.get("loaded")) and reported >= (placement["metadata"].get("generation") or 0)


def needed(
    placements: Iterable[Object],
    specified: Mapping[str, Isolation],
    selected: Mapping[str, Isolation],
) -> frozenset[Runtime]:
    """Returns the runtimes that a namespace needs.

    specified: the isolation in the services' specs. selected: the isolation that their clients still reach.
    While these differ from a Placement's, the service has both runtimes there.
    """
    found = set()
    for placement in placements:
        found.add(runtime_of(placement))
        name, node = placement["spec"]["service"], placement["spec"]["node"]
        if "Dedicated" in (specified.get(name), selected.get(name)) and name in specified:
            found.add(Runtime(placement["metadata"]["namespace"], node, name))
    return frozenset(found)
