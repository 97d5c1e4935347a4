"""Selects the nodes of a pool, the entry nodes of a service and nodes for profiling. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any

from edge_api.devicepools import DevicePoolSpec, NodeGroup, Tier, TritonServer
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.selectors import Expression, LabelSelector, SelectsNodes
from edge_api.tolerations import Toleration
from edge_operator.amounts import amount
from edge_operator.cluster import Object
from edge_operator.names import HOSTNAME_LABEL, selection_name
from edge_operator.settings import Settings


@dataclass(frozen=True, slots=True)
class Node:
    """The fields of a Node that matter here.

    cpu: share of its processors that pods can use, 0 to 1. memory: bytes that they can use. cores: its
    processors; 1 if they are not known. taints: as in its spec.
    """

    name: str
    labels: Mapping[str, str]
    ready: bool
    not_ready_because: str = ""
    cpu: float = 1.0
    memory: float = inf
    cores: float = 1.0
    taints: tuple[Object, ...] = ()

    @property
    def hostname(self) -> str:
        """The nodeSelector of a pod for this node."""
        return self.labels.get(HOSTNAME_LABEL, self.name)


@dataclass(frozen=True, slots=True)
class PoolMember:
    """A node with what the pool's group declares of it.

    watts: above idle while it computes; 0 if unknown. execution_providers, image: empty for those of the
    installation. declared_memory: bytes for runtimes and slices. idle_memory: bytes in which a
    runtime keeps idle services loaded. survives_reboot: whether it has the unit.
    """

    node: Node
    device_class: str
    tier: Tier = "Edge"
    watts: float = 0.0
    radio: str | None = None
    tolerations: tuple[Toleration, ...] = ()
    execution_providers: tuple[str, ...] = ()
    image: str = ""
    declared_memory: float = inf
    idle_memory: int = 0
    survives_reboot: bool = False

    @property
    def memory(self) -> float:
        """Bytes of memory that plans count with."""
        return min(self.node.memory, self.declared_memory)


def node_of(body: Object) -> Node:
    """Reads a Node object."""
    conditions = body.get("status", {}).get("conditions") or []
    ready: Object = next((c for c in conditions if c.get("type") == "Ready"), {})
    cpu, memory, cores = capacity_of(body)
    return Node(
        name=body["metadata"]["name"],
        labels=body["metadata"].get("labels") or {},
        ready=ready.get("status") == "True",
        not_ready_because=""
        if ready.get("status") == "True"
        else ready.get("message") or "the kubelet has not reported yet",
        cpu=cpu,
        memory=memory,
        cores=cores,
        taints=tuple((body.get("spec") or {}).get("taints") or ()),
    )


def capacity_of(body: Mapping[str, Any]) -> tuple[float, float, float]:
    """Returns the share of a Node's processors and the bytes of memory that pods can use, and its processors.

    What the kubelet has not reported counts as all of one processor and as unlimited memory.
    """
    status = body.get("status") or {}
    allocatable, capacity = status.get("allocatable") or {}, status.get("capacity") or {}
    processors, all_processors = number_of(allocatable.get("cpu")), number_of(capacity.get("cpu"))
    memory = number_of(allocatable.get("memory"))
    share = min(processors / all_processors, 1.0) if processors is not None and all_processors else 1.0
    return round(share, 4), inf if memory is None else memory, all_processors or 1.0


def number_of(quantity: object) -> float | None:
    """Returns the number of a quantity in any of Kubernetes' spellings; None if it is not one."""
    found = amount(quantity)
    return float(found) if isinstance(found, Decimal) else None


def group_members(pool: DevicePoolSpec, nodes: Iterable[Node]) -> tuple[PoolMember, ...]:
    """Returns the pool's nodes by name; a node that several groups select belongs to the first of them."""
    found = []
    for node in sorted(nodes, key=lambda n: n.name):
        group = next((g for g in pool.nodes if selects(g, node)), None)
        if group is not None:
            watts = group.watts or 0.0
            member = PoolMember(
                node,
                group.device_class,
                group.tier,
                watts,
                group.radio,
                group.tolerations or (),
                group.execution_providers or (),
                group.image or "",
                inf if group.memory is None else float(group.memory),
                int(group.idle_memory or 0),
                bool(group.survives_reboot),
            )
            found.append(member)
    return tuple(found)


def entries(service: InferenceServiceSpec, pool: tuple[PoolMember, ...]) -> tuple[PoolMember, ...]:
    """Returns the entry nodes of a service."""
    if service.entry_nodes is None:
        return pool
    wanted = service.entry_nodes
    return tuple(member for member in pool if selects(wanted, member.node))


def intermediate_nodes(entry: PoolMember, pool: Iterable[PoolMember]) -> tuple[PoolMember, ...]:
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


def selection(name: str, pool: DevicePoolSpec, device_class: str) -> str:
    """Returns what measurements of a device class are kept under: the pool and the selectors of the class.

    Classes of two pools can have one name, and a pool can be created again with other nodes. Execution
    providers and image of a group count, too: with others, the class is measured again.
    """
    groups = [group for group in pool.nodes if group.device_class == device_class]
    servers = [server for server in pool.triton_servers if server.device_class == device_class]
    selected = {selector_text(group) + _engine_text(group) for group in groups}
    selected |= {server.url if measured_itself(server) else selector_text(server) for server in servers}
    return selection_name(name, sorted(selected))


def _engine_text(group: NodeGroup) -> str:
    found = [*(group.execution_providers or ()), *([group.image] if group.image else [])]
    return f" by {' '.join(found)}" if found else ""


def sites(
    pool: DevicePoolSpec, device_class: str, nodes: Iterable[Node], lost: Collection[str] = ()
) -> tuple[PoolMember, ...]:
    """Returns the Ready nodes on which a device class can be profiled: of the pool, or of a Triton server.

    lost: the names of nodes that the pool selects and that belong to older pools; those of a Triton server
    are used in any case, since several pools can name it.
    """
    every = sorted(nodes, key=lambda n: n.name)
    members = {member.node.name: member for member in group_members(pool, every)}
    own = [
        member for name, member in members.items() if member.device_class == device_class and name not in lost
    ]
    servers = [server for server in pool.triton_servers if server.device_class == device_class]
    theirs = [
        members.get(node.name, PoolMember(node, device_class))
        for server in servers
        for node in server_nodes(server, every)
    ]
    return tuple({member.node.name: member for member in own + theirs if member.node.ready}.values())


def missing_certificates(pool: DevicePoolSpec, settings: Settings) -> str:
    """Returns why TLS to a Triton server is not possible; empty if it is or if no server uses it."""
    runtimes = settings.tls_secret or settings.issues_certificates
    held = {"operator.tlsSecret": settings.tls_dir, "runtime.tlsSecret": runtimes}
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


def measured_itself(server: TritonServer) -> bool:
    """Whether models are profiled by requests to the server, since it names no node like it."""
    return server.node_selector is None and server.selector is None


def server_to_measure(pool: DevicePoolSpec, device_class: str) -> TritonServer | None:
    """Returns the server through which a class is profiled; None if it is profiled on a node."""
    if any(group.device_class == device_class for group in pool.nodes):
        return None
    servers = [server for server in pool.triton_servers if server.device_class == device_class]
    return servers[0] if servers and all(map(measured_itself, servers)) else None


def server_nodes(server: TritonServer, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Returns the nodes on which a Triton server's class is profiled; none if it selects none."""
    if measured_itself(server):
        return ()
    return tuple(node for node in nodes if selects(server, node))


def selector_text(part: SelectsNodes) -> str:
    """Returns a selector in the syntax of `kubectl get -l`."""
    own = part.selector
    labels = [*(part.node_selector or {}).items(), *(own.match_labels.items() if own else ())]
    expressions = own.match_expressions if own else ()
    terms = [f"{key}={value}" for key, value in labels] + [_expression_text(each) for each in expressions]
    return ",".join(terms)


def selector_field(part: SelectsNodes) -> str:
    """Returns the name of the field that selects: nodeSelector, or selector if that is all there is."""
    return "nodeSelector" if part.node_selector else "selector"


def _expression_text(expression: Expression) -> str:
    if expression.operator in ("Exists", "DoesNotExist"):
        return expression.key if expression.operator == "Exists" else f"!{expression.key}"
    return f"{expression.key} {expression.operator.lower()} ({','.join(expression.values)})"


def selects(part: SelectsNodes, node: Node) -> bool:
    """Whether a node has the labels of nodeSelector and matches the selector."""
    labels = (part.node_selector or {}).items()
    return all(node.labels.get(key) == value for key, value in labels) and (
        part.selector is None or meets(node.labels, part.selector)
    )


def meets(labels: Mapping[str, str], selector: LabelSelector) -> bool:
    """Whether labels match a label selector."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(labels, each) for each in selector.match_expressions
    )


def _meets(labels: Mapping[str, str], expression: Expression) -> bool:
    """Whether labels meet an expression, as in metav1: NotIn also holds for a label that is not there."""
    match expression.operator:
        case "In":
            return labels.get(expression.key) in expression.values
        case "NotIn":
            return labels.get(expression.key) not in expression.values
        case "Exists":
            return expression.key in labels
        case "DoesNotExist":
            return expression.key not in labels
