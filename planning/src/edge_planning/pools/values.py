"""A pool and its demands, as they are to be planned together."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from edge_planning.errors import require
from edge_planning.problems import EntryProblem
from edge_planning.sharing.values import Tenant

LIMIT = 1000
"""Of priorities."""


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
        uplink: Bit/s to Triton, as measured or, before that, as declared.
        cores: Processors that `cpu` is a share of, in which amounts of tenants are given and reported.
    """

    name: str
    device_class: str
    cpu: float = 1.0
    memory: float = inf
    uplink: float = 1e9
    cores: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.cpu <= 1, f"node {self.name}: cpu {self.cpu} must be between 0 and 1")
        require(self.memory >= 0, f"node {self.name}: memory {self.memory} bytes must be >= 0")
        require(
            isfinite(self.uplink) and self.uplink >= 0,
            f"node {self.name}: uplink {self.uplink} bit/s must be finite and >= 0",
        )
        require(
            isfinite(self.cores) and self.cores > 0,
            f"node {self.name}: cores {self.cores} must be finite and > 0",
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
class Observed:
    """Requests as they were measured.

    Attributes:
        rate: Requests per second.
        late: Whether too many of them missed the SLO.
    """

    rate: float
    late: bool = False

    def __post_init__(self) -> None:
        require(
            isfinite(self.rate) and self.rate > 0,
            f"observed rate {self.rate} requests/s must be finite and > 0",
        )


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """A service at an entry node.

    Attributes:
        service: Its name in the namespace.
        tenant: The namespace.
        digest: Of the model; services with the same digest have the same slices.
        problems: What plan_entry takes: one for each Triton server that can be used, named by `peer`, or one
            without a remote end. plan_pool sets their rates, `others`, `servers` and `uplink_used`, unless
            the rate is assumed.
        rate: Requests per second to plan for, which are reserved.
        priority: Higher ones are refused last.
        server: The Triton server that it uses now, if any: of equally good ones it is kept.
        assumed: Whether `rate` is a default that was not declared. It is then reserved, but nothing waits for
            these requests.
        observed: What was measured where the rate is assumed, if anything. It is not reserved: such requests
            share what reservations leave, and those of other demands wait for them.
        belongs_to: The tenant of the namespace; empty if the namespace is one by itself.
    """

    service: str
    tenant: str
    digest: str
    problems: tuple[EntryProblem, ...]
    rate: float
    priority: int = 0
    isolation: Isolation = Isolation.SHARED
    server: str | None = None
    assumed: bool = False
    observed: Observed | None = None
    belongs_to: str = ""

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
        require(
            -LIMIT <= self.priority <= LIMIT,
            f"demand {self.name}: priority {self.priority} must be between {-LIMIT} and {LIMIT}",
        )
        require(
            self.assumed or self.observed is None,
            f"demand {self.name}: a measured rate counts only where the rate is assumed",
        )

    @property
    def node(self) -> str:
        return self.problems[0].node

    @property
    def name(self) -> str:
        """`namespace/service@node`."""
        return f"{self.tenant}/{self.service}@{self.node}"

    @property
    def owner(self) -> str:
        """The tenant that it counts for."""
        return self.belongs_to or self.tenant

    @property
    def unreserved(self) -> float:
        """By how much the measured rate exceeds the reserved one, as a multiple of that."""
        return 0.0 if self.observed is None else max(self.observed.rate / self.rate - 1, 0.0)

    @property
    def places(self) -> frozenset[str]:
        """The nodes and Triton servers that it can use."""
        return frozenset(
            place
            for one in self.problems
            for place in (one.node, one.peer, *(each.name for each in one.intermediates))
        )

    @property
    def runtime(self) -> str:
        """The runtime that serves it at a node."""
        return self.tenant if self.isolation is Isolation.SHARED else f"{self.tenant}/{self.service}"


@dataclass(frozen=True, slots=True)
class PoolProblem:
    """All that is planned together.

    Attributes:
        nodes: Every node that a demand names, as entry node or intermediate node.
        servers: Every Triton server that a demand names.
        demands: In any order.
        tenants: Weights of tenants, and their quotas if `entitled`; one that is not listed has weight 1.
        runtime_memory: Bytes of a runtime without slices.
        entitled: Whether tenants share the pool by entitlement, and not by the lowest level of utility
            (docs/sharing.md). Listed tenants without demands then have entitlements, too.
    """

    nodes: tuple[PoolNode, ...]
    servers: tuple[PoolServer, ...]
    demands: tuple[PoolDemand, ...]
    tenants: tuple[Tenant, ...] = ()
    runtime_memory: float = 0.0
    entitled: bool = False

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
            twice = [name for name, times in Counter(names).items() if times > 1]
            require(not twice, f"{what} {', '.join(sorted(twice))} is listed twice")
        for tenant in self.tenants:
            require(
                self.entitled or (tenant.weight > 0 and not tenant.has_quota),
                f"tenant {tenant.name}: weight 0, quotas and priority ceilings need a pool that is shared by "
                "entitlement",
            )
        nodes, servers = {one.name for one in self.nodes}, {one.name for one in self.servers}
        for demand in self.demands:
            for one in demand.problems:
                near = {one.node, *(each.name for each in one.intermediates)}
                require(near <= nodes, f"{demand.name}: unknown node {', '.join(sorted(near - nodes))}")
                require(
                    one.remote is None or one.peer in servers,
                    f"{demand.name}: unknown Triton server {one.peer}",
                )

    @property
    def owners(self) -> tuple[Tenant, ...]:
        """The tenants of the demands, and those with entitlements, by name."""
        weights = {one.name: one for one in self.tenants}
        names = sorted({*(one.owner for one in self.demands), *(weights if self.entitled else ())})
        return tuple(weights.get(name, Tenant(name)) for name in names)
