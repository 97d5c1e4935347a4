"""Selects the nodes of a pool, the entry nodes of a service and nodes for profiling. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_api.devicepools import DevicePoolSpec, Tier, TritonServer
from edge_api.inferenceservices import InferenceServiceSpec
from edge_operator.cluster import Object
from edge_operator.names import HOSTNAME_LABEL
from edge_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Node:
    """The fields of a Node that matter here."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    not_ready_because: str = ""

    @property
    def hostname(self) -> str:
        """The nodeSelector of a pod for this node."""
        return self.labels.get(HOSTNAME_LABEL, self.name)


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A node with what the pool's group declares of it. watts: above idle while it computes; 0 if unknown."""

    node: Node
    device_class: str
    tier: Tier = "Edge"
    watts: float = 0.0
    radio: str | None = None


def node_of(body: Object) -> Node:
    """Reads a Node object."""
    conditions = body.get("status", {}).get("conditions") or []
    ready: Object = next((c for c in conditions if c.get("type") == "Ready"), {})
    return Node(
        name=body["metadata"]["name"],
        labels=body["metadata"].get("labels") or {},
        ready=ready.get("status") == "True",
        not_ready_because=""
        if ready.get("status") == "True"
        else ready.get("message") or "the kubelet has not reported yet",
    )


def group_members(pool: DevicePoolSpec, nodes: Iterable[Node]) -> tuple[PoolMember, ...]:
    """Returns the pool's nodes by name; a node that several groups select belongs to the first of them."""
    found = []
    for node in sorted(nodes, key=lambda n: n.name):
        group = next((g for g in pool.nodes if _selects(g.node_selector, node)), None)
        if group is not None:
            found.append(PoolMember(node, group.device_class, group.tier, group.watts or 0.0, group.radio))
    return tuple(found)


def entries(service: InferenceServiceSpec, pool: tuple[PoolMember, ...]) -> tuple[PoolMember, ...]:
    """Returns the entry nodes of a service."""
    if service.entry_nodes is None:
        return pool
    selector = service.entry_nodes.node_selector
    return tuple(member for member in pool if _selects(selector, member.node))


def helpers(entry: PoolMember, pool: Iterable[PoolMember]) -> tuple[PoolMember, ...]:
    """Returns the edge nodes that can run a slice for an entry node: for a device, one Ready node per class.

    Nodes of a class have equal speed and links, so one is enough. A hash of both names selects it, so that
    devices spread over the nodes and few devices move if a node is added or removed.
    """
    if entry.tier != "Device":
        return ()
    best: dict[str, tuple[str, PoolMember]] = {}
    for member in pool:
        if member.tier == "Edge" and member.node.ready and member.node.name != entry.node.name:
            weight = hashlib.sha256(f"{entry.node.name}/{member.node.name}".encode()).hexdigest()
            known = best.get(member.device_class)
            if known is None or weight > known[0]:
                best[member.device_class] = (weight, member)
    return tuple(member for _, (_, member) in sorted(best.items()))


def sites(pool: DevicePoolSpec, device_class: str, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Returns the Ready nodes on which a device class can be profiled: of the pool, or of a Triton server."""
    every = sorted(nodes, key=lambda n: n.name)
    own = [m.node for m in group_members(pool, every) if m.device_class == device_class]
    servers = [server for server in pool.triton_servers if server.device_class == device_class]
    theirs = [node for server in servers for node in server_nodes(server, every)]
    return tuple({node.name: node for node in own + theirs if node.ready}.values())


def missing_certificates(pool: DevicePoolSpec, settings: Settings) -> str:
    """Returns why TLS to a Triton server is not possible; empty if it is or if no server uses it."""
    held = {"operator.tlsSecret": settings.tls_dir, "runtime.tlsSecret": settings.tls_secret}
    lacking = [value for value, given in held.items() if not given]
    index = next((i for i, server in enumerate(pool.triton_servers) if server.scheme == "HTTPS"), None)
    if index is None or not lacking:
        return ""
    return (
        f'spec.tritonServers[{index}].scheme: "HTTPS" requires certificates for operator and runtimes: '
        f"set {' and '.join(lacking)} of the chart to Secrets with tls.crt, tls.key and ca.crt, or use HTTP"
    )


def taken_names(servers: Iterable[TritonServer], members: Iterable[PoolMember]) -> str:
    """Returns why a name is ambiguous: a Triton server has the name of a node; empty if none has."""
    nodes = {member.node.name for member in members}
    taken = next(((i, s.name) for i, s in enumerate(servers) if s.name in nodes), None)
    if taken is None:
        return ""
    return (
        f'spec.tritonServers[{taken[0]}].name: "{taken[1]}" is the name of a node of the pool: choose '
        f"another name, e.g. cloud"
    )


def server_nodes(server: TritonServer, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Returns the nodes on which a Triton server's class is profiled."""
    return tuple(node for node in nodes if _selects(server.node_selector, node))


def labels_text(selector: Mapping[str, str]) -> str:
    """Returns a selector in the syntax of `kubectl get -l`."""
    return ",".join(f"{key}={value}" for key, value in selector.items())


def _selects(selector: Mapping[str, str], node: Node) -> bool:
    return all(node.labels.get(key) == value for key, value in selector.items())
