"""The nodes of a testbed, and their addresses, which depend on their order. Pure values."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from testbed.errors import BadValueError, UnknownNodeError

Likeness = Literal["upstream", "k3s"]
"""What a cluster is built from: the parts of Kubernetes' releases, or those of K3s around them."""
CLOUD = "cloud"
DOMAIN = "cluster.local"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
NETWORK_PREFIX = 24
LABELS = "edge-intelligence.io"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,11}[a-z0-9])?")
_CLASS = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
MOST_NODES = 100
SLOWEST, FASTEST = 0.01, 64.0


def checked_speed(speed: float) -> float:
    """CPU seconds per second that all pods of a node share."""
    if not SLOWEST <= speed <= FASTEST:
        raise BadValueError(f"speed {speed:g}: not a share of a core; use {SLOWEST} to {FASTEST:g}, e.g. 0.2")
    return speed


@dataclass(frozen=True)
class NodeSpec:
    """A node. speed: in cores (0.2: a fifth of one core for all of its pods); None: no limit."""

    name: str
    device_class: str
    speed: float | None = None
    tier: str = "edge"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadValueError(
                f"node name {self.name!r}: use up to 13 of a-z, 0-9 and inner '-', e.g. edge-a"
            )
        if not _CLASS.fullmatch(self.device_class):
            raise BadValueError(
                f"node {self.name}: device class {self.device_class!r} is not a label value; use e.g. camera"
            )
        if self.tier not in ("edge", CLOUD):
            raise BadValueError(f"node {self.name}: tier {self.tier!r} is unknown; use edge or cloud")
        if self.speed is not None:
            checked_speed(self.speed)

    @property
    def labels(self) -> dict[str, str]:
        return {f"{LABELS}/tier": self.tier, f"{LABELS}/device-class": self.device_class}


CLOUD_NODE = NodeSpec(CLOUD, CLOUD, None, CLOUD)
DEFAULT_NODES = (
    NodeSpec("edge-a", "gateway", 0.4),
    NodeSpec("edge-b", "camera", 0.2),
    NodeSpec("edge-c", "camera", 0.2),
)


def parse_node(text: str) -> NodeSpec:
    """Parses `name:class` or `name:class:speed`."""
    name, _, rest = text.partition(":")
    device_class, _, speed = rest.partition(":")
    if not device_class:
        raise BadValueError(f"--nodes {text}: use name:class or name:class:speed, e.g. edge-a:gateway:0.4")
    try:
        return NodeSpec(name, device_class, float(speed) if speed else None)
    except ValueError:
        raise BadValueError(
            f"--nodes {text}: speed {speed!r} is not a number; use e.g. edge-a:gateway:0.4"
        ) from None


def edge_nodes(count: int) -> tuple[NodeSpec, ...]:
    """Returns the first `count` default nodes, followed by more cameras."""
    if not 1 <= count <= MOST_NODES - 1:
        raise BadValueError(f"--nodes {count}: use 1 to {MOST_NODES - 1}")
    further = (NodeSpec(f"edge-{i + 1}", "camera", 0.2) for i in range(len(DEFAULT_NODES), count))
    return (*DEFAULT_NODES, *further)[:count]


@dataclass(frozen=True)
class Topology:
    """The nodes in order, the cloud first. A node's index is its number in every address."""

    nodes: tuple[NodeSpec, ...]
    like: Likeness = "upstream"

    @classmethod
    def with_cloud(cls, edges: Sequence[NodeSpec], like: Likeness = "upstream") -> Topology:
        names = [CLOUD, *(node.name for node in edges)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadValueError(
                f"--nodes: {', '.join(twice)} is named twice (cloud is always there); give each its own name"
            )
        if len(names) > MOST_NODES:
            raise BadValueError(f"--nodes: {len(names)} are too many; use at most {MOST_NODES - 1}")
        return cls((CLOUD_NODE, *edges), like)

    def with_node(self, spec: NodeSpec) -> Topology:
        """Returns the topology with another node of this name."""
        return replace(self, nodes=tuple(spec if each.name == spec.name else each for each in self.nodes))

    def node(self, name: str) -> NodeSpec:
        for node in self.nodes:
            if node.name == name:
                return node
        raise UnknownNodeError(
            f"no node {name!r} in this testbed; there are {', '.join(n.name for n in self.nodes)}"
        )

    def number(self, name: str) -> int:
        return self.nodes.index(self.node(name))

    def address(self, name: str) -> str:
        """Returns the node's address on the wide-area bridge."""
        return f"10.99.0.{10 + self.number(name)}"

    def local_address(self, name: str) -> str:
        """The node's address on the local network of the edge nodes."""
        return f"10.98.0.{10 + self.number(name)}"

    def pod_subnet(self, name: str) -> str:
        return str(ipaddress.ip_network(f"10.244.{self.number(name)}.0/24"))

    def to_json(self) -> str:
        return json.dumps({"like": self.like, "nodes": [asdict(node) for node in self.nodes]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Topology:
        plan = json.loads(text)
        return cls(tuple(NodeSpec(**node) for node in plan["nodes"]), plan["like"])


def parse_likeness(text: str) -> Likeness:
    """Returns what a cluster is to be like."""
    for known in get_args(Likeness):
        if text == known:
            return text  # type: ignore[return-value]
    raise BadValueError(f"--like {text}: use one of {', '.join(get_args(Likeness))}")
