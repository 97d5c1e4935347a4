"""What is planned together: the services of a pool, and what each entry node of them gets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.policies import Isolation
from edge_operator.keys import ServiceKey
from edge_operator.nodes.runtimes import Runtime
from edge_operator.pool.rates import Measured
from edge_operator.pool.server_choice import Choice
from edge_operator.pool.server_links import Link
from edge_operator.pool.tenancy import NO_TENANTS, Tenancy
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import CodecAccuracies, DeviceProfile, ModelCard
from edge_planning import EntryProblem, Infeasible, Plan
from edge_planning.pools import Observed
from edge_planning.sharing import Tenant


class EntryKey(NamedTuple):
    """An InferenceService at an entry node."""

    namespace: str
    service: str
    node: str


class LinkKey(NamedTuple):
    """A link from a node to a Triton server or to another node, by name."""

    node: str
    peer: str


class Weight(NamedTuple):
    """A runtime, and the weight of its request of processor time: on average 1 at a node.

    refusing: whether it only refuses the requests of the service.
    """

    runtime: Runtime
    weight: float
    refusing: bool = False


@dataclass(frozen=True, slots=True)
class PooledService:
    """A service that can be planned: its model is known, and the classes of its entry nodes are profiled.

    Attributes:
        metadata: Of the model, with the cuts that are found in its branches.
        profiles: Measurements by device class.
        entries: Its entry nodes, at least one.
        placements: Those published, by node: also of nodes that are only intermediate ones.
        isolation: Of the runtimes that its tables are for.
        accuracies: With codecs; None without validation data.
        links: To each Triton server; `published_links` reads them from Placements. A link to an
            intermediate node that is not listed is as the pool declares it.
        measured: What was measured of the arrival of requests, by node.
        observed: The requests to plan with, which follow from that; none at a node where too few are known.
        full: Names of Triton servers that recently had no room for its tails.
    """

    key: ServiceKey
    spec: InferenceServiceSpec
    metadata: ModelCard
    profiles: Mapping[str, DeviceProfile]
    entries: tuple[PoolMember, ...]
    placements: Mapping[str, Placement] = field(default_factory=lambda: MappingProxyType({}))
    isolation: Isolation = "Shared"
    accuracies: CodecAccuracies | None = None
    links: Mapping[LinkKey, Link] = field(default_factory=lambda: MappingProxyType({}))
    measured: Mapping[str, Measured] = field(default_factory=lambda: MappingProxyType({}))
    observed: Mapping[str, Observed] = field(default_factory=lambda: MappingProxyType({}))
    full: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServerState:
    """away: whether a Triton server is taken as lost. steady: whether it has responded for long enough."""

    away: bool = False
    steady: bool = True


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool with its services.

    Attributes:
        members: All nodes.
        servers: States of Triton servers, by name; one that is not listed responds.
        runtime_memory: Bytes that a runtime requests.
        tenants: Those that share the pool; none if there are no Tenants.
        tenancy: Which of them each namespace belongs to.
        published: The runtimes that published tables need, and their weights, also of services that cannot be
            planned now.
    """

    spec: DevicePoolSpec
    members: tuple[PoolMember, ...]
    services: tuple[PooledService, ...]
    servers: Mapping[str, ServerState] = field(default_factory=lambda: MappingProxyType({}))
    runtime_memory: float = 0.0
    tenants: tuple[Tenant, ...] = ()
    tenancy: Tenancy = NO_TENANTS
    published: Mapping[EntryKey, Weight] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """What a service gets at an entry node, or at an intermediate node.

    Attributes:
        problem: What was planned, with the link to `server`.
        plan: As plan_entry returns it; None if the pool has too little left. A published table stays, with
            `notes`, from which a restarted operator sees that there is no room for it.
        server: The Triton server of the link to measure, and of the tails, if any.
        notes: Annotations of the Placement.
        in_time: Whether the route at the present bandwidth meets the SLO with the load of all services.
        shortage: What binds, who uses it and what would make room; empty if it has what it would have alone.
        intermediate: Whether no requests of clients arrive at the node.
        adopted: Whether the table is the published one, read back after a start of the operator. What a
            condition says of it stays, since the reasons in `plan` are those of another table.
        choice: Of `server`; None if the pool has none.
        held: Whether it has no plan because its tenant is held.
    """

    member: PoolMember
    problem: EntryProblem
    plan: Plan | Infeasible | None
    server: TritonServer | None = None
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    in_time: bool = True
    shortage: str = ""
    intermediate: bool = False
    adopted: bool = False
    choice: Choice | None = None
    held: bool = False
