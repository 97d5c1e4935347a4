"""A pool and its demands, as they are to be planned together."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from edge_planning.errors import require
from edge_planning.problems import EntryProblem
from edge_planning.sharing.values import Tenant


class Isolation(StrEnum):
    """Which runtime serves a demand at a node."""

    SHARED = "Shared"
    """That of the namespace."""
    DEDICATED = "Dedicated"
    """One of the service's own."""


@dataclass(frozen=True, slots=True)
class PoolNode:
    """A node that runs stages: as entry node, as intermediate node, or both.

    Attributes:
        device_class: Name of its class.
        cpu: Share of its time that inference can use, 0 to 1.
        memory: Bytes for runtimes and slices.
        uplink: Bit/s to Triton.
    """

    name: str
    device_class: str
    cpu: float = 1.0
    memory: float = inf
    uplink: float = 1e9

    def __post_init__(self) -> None:
        require(0 <= self.cpu <= 1, f"node {self.name}: cpu {self.cpu} must be between 0 and 1")
        require(self.memory >= 0, f"node {self.name}: memory {self.memory} bytes must be >= 0")
        require(
            isfinite(self.uplink) and self.uplink >= 0,
            f"node {self.name}: uplink {self.uplink} bit/s must be finite and >= 0",
        )


@dataclass(frozen=True, slots=True)
class PoolServer:
    """A Triton server, with its declared bytes of memory and the requests that it computes at a time."""

    name: str
    memory: float = inf
    concurrency: int = 1

    def __post_init__(self) -> None:
        require(self.memory >= 0, f"server {self.name}: memory {self.memory} bytes must be >= 0")
        require(self.concurrency >= 1, f"server {self.name}: concurrency {self.concurrency} must be >= 1")


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """A service at an entry node.

    Attributes:
        tenant: The namespace.
        digest: Of the model; services with the same digest have the same slices.
        problems: One for each Triton server that can be used, named by `peer`, or one without a remote end.
            Their rates, `others`, `servers` and `uplink_used` are set by plan_pool.
        rate: Requests per second to plan for.
        priority: Among the demands of its own tenant, higher ones are planned first and refused last.
        server: The Triton server that it uses now, if any: of equally good ones it is kept.
    """

    service: str
    tenant: str
    digest: str
    problems: tuple[EntryProblem, ...]
    rate: float
    priority: int = 100
    isolation: Isolation = Isolation.SHARED
    server: str | None = None

    def __post_init__(self) -> None:
        require(bool(self.problems), f"demand {self.service}: no problem")
        require(
            all(one.node == self.node for one in self.problems),
            f"demand {self.service}: its problems must have one entry node",
        )
        require(
            isfinite(self.rate) and self.rate > 0,
            f"demand {self.name}: rate {self.rate} must be finite and > 0",
        )

    @property
    def node(self) -> str:
        return self.problems[0].node

    @property
    def name(self) -> str:
        """`namespace/service@node`."""
        return f"{self.tenant}/{self.service}@{self.node}"

    @property
    def runtime(self) -> str:
        """The runtime that serves it at a node."""
        return self.tenant if self.isolation is Isolation.SHARED else f"{self.tenant}/{self.service}"


@dataclass(frozen=True, slots=True)
class PoolProblem:
    """All that is planned together.

    Attributes:
        tenants: A tenant is entitled to its weight's share of every resource.
        runtime_memory: Bytes of a runtime without slices.
    """

    nodes: tuple[PoolNode, ...]
    servers: tuple[PoolServer, ...]
    tenants: tuple[Tenant, ...]
    demands: tuple[PoolDemand, ...]
    runtime_memory: float = 0.0

    def __post_init__(self) -> None:
        require(
            isfinite(self.runtime_memory) and self.runtime_memory >= 0,
            f"runtime_memory {self.runtime_memory} bytes must be finite and >= 0",
        )
        places = [*(one.name for one in self.nodes), *(one.name for one in self.servers)]
        for what, names in (
            ("place", places),
            ("tenant", [one.name for one in self.tenants]),
            ("demand", [one.name for one in self.demands]),
        ):
            twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
            require(not twice, f"{what} {', '.join(sorted(twice))} is listed twice")
        nodes, servers = {one.name for one in self.nodes}, {one.name for one in self.servers}
        tenants = {one.name for one in self.tenants}
        for demand in self.demands:
            require(demand.tenant in tenants, f"{demand.name}: unknown tenant {demand.tenant}")
            for one in demand.problems:
                near = {one.node, *(each.name for each in one.intermediates)}
                require(near <= nodes, f"{demand.name}: unknown node {', '.join(sorted(near - nodes))}")
                require(
                    one.remote is None or one.peer in servers,
                    f"{demand.name}: unknown Triton server {one.peer}",
                )

    def entitlement(self, tenant: str) -> float:
        """Returns the share of every resource to which a tenant is entitled."""
        weights = {one.name: one.weight for one in self.tenants}
        return weights[tenant] / sum(sorted(weights.values()))
