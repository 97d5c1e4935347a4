"""What a pool's plan is made from: frozen values, taken from the mirror and from facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edge_api import reasons
from edge_operator.cluster import Object
from edge_operator.conditions import Finding
from edge_operator.errors import OperatorError, StoreError
from edge_operator.keys import ServiceKey, TailKey
from edge_operator.ownership import Claim
from edge_operator.pool.actions import ObjectRef
from edge_operator.pool.facts import Facts
from edge_operator.pool.server_availability import Availability
from edge_operator.pool.tenancy import NO_TENANTS, Tenancy
from edge_operator.pool_nodes import Node
from edge_operator.settings import Settings
from edge_operator.tritons.control_checks import Endpoints

RUNTIMES_CURRENT: Final = (
    reasons.RUNTIMES_CURRENT,
    "the runtimes of all entry nodes have the installed version",
)


@dataclass(frozen=True, slots=True)
class RuntimeFindings:
    """What a namespace's reconcile found out about its runtimes.

    By service: refused: what the API server refused. notes: what people should know. versions: the reason and
    the message about a new version of the runtimes; None before the first reconcile.
    """

    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, str]] | None = None

    def concerning(self, service: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, str] | None]:
        """Returns what was refused for a service, the notes on it, and what its runtimes' version does."""
        refused, notes = self.refused.get(service, ()), self.notes.get(service, ())
        version = None if self.versions is None else self.versions.get(service, RUNTIMES_CURRENT)
        return tuple(refused), tuple(notes), version


NOTHING = RuntimeFindings()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server refused to write, as `wanted_by` returns it, and why."""

    wanted: Object
    message: str


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """The result of loading a service's tails at one Triton server.

    tails: their names. refused: those that did not fit; message: why. error: why the others are not loaded.
    unread: why the files of some of the others could not be read from the model store, by name.
    """

    tails: frozenset[str]
    refused: frozenset[str] = frozenset()
    message: str = ""
    error: OperatorError | None = None
    unread: Mapping[str, StoreError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnloadOutcome:
    """The result of unloading a deleted service's tails at a Triton server. error: empty without one."""

    tails: frozenset[TailKey]
    error: str = ""


@dataclass(frozen=True, slots=True)
class RevisionState:
    """A candidate of a service as last seen: its InferenceService, its Placements and its ModelProfile."""

    body: Object
    placements: tuple[Object, ...] = ()
    profile: Object | None = None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service as last seen.

    Attributes:
        body: The InferenceService.
        placements: Its Placements, also those of an earlier version.
        legacy: Deployments that an earlier version made for the service alone.
        profile: Its ModelProfile.
        client_service: The Service that clients reach it by.
        deployments: Those of the runtimes at its nodes, by name.
        pods: Pods of the runtimes that are not ready or have not loaded a table, by the runtime's name.
        fetches: Jobs that fetch its model or its validation data, by name.
        fetch_pods: Their pods, by the Job's name.
        refused: What the API server refused for its runtimes.
        notes: What people should know about its runtimes.
        version: The reason and the message about the version of them; None while it is not known.
        refusals: What it refused of the service's own objects.
        loads: The last results of loading its tails, by address.
        unloads: Likewise, of a service that is being deleted.
        revision: The candidate that its status names, if there is one.
    """

    key: ServiceKey
    body: Object
    placements: tuple[Object, ...] = ()
    legacy: tuple[Object, ...] = ()
    profile: Object | None = None
    client_service: Object | None = None
    deployments: Mapping[str, Object] = field(default_factory=dict)
    pods: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    fetches: Mapping[str, Object] = field(default_factory=dict)
    fetch_pods: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    version: tuple[str, str] | None = None
    refusals: Mapping[ObjectRef, Refusal] = field(default_factory=dict)
    loads: Mapping[str, LoadOutcome] = field(default_factory=dict)
    unloads: Mapping[str, UnloadOutcome] = field(default_factory=dict)
    revision: RevisionState | None = None


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool as last seen, with the services on it.

    Attributes:
        body: The DevicePool; None if it does not exist.
        pools: The names of all pools.
        older: What older pools select nodes by, from the oldest; those nodes are not of this pool.
        nodes: The nodes of the cluster.
        services: The services whose spec names the pool.
        changed: Services that are planned whatever the plan before says; the others keep theirs until due.
        placements: All Placements of the pool.
        jobs: The profiling Jobs, by name.
        job_pods: Their pods, by the Job's name.
        facts: What the model store and Triton servers told.
        loaded: Tails that were seen to have their content, by the address of their server.
        availability: Which Triton servers respond.
        emptied: Servers that left the pool and have no tails any more.
        control_open: Whether servers accept model control without a key, as far as they were checked, by
            their HTTP address.
        certificates: Why certificates are not issued or renewed, by namespace; None if others issue them.
        units: The condition SurvivesReboot of the pool; None if its nodes are to have no units.
        in_use: The condition InUse of the pool; None unless its deletion waits for services.
        tenancy: The tenants of all namespaces.
        authority: PEM of the CA that signs the model store's certificate; empty if the operator has none.
    """

    name: str
    settings: Settings
    body: Object | None = None
    pools: tuple[str, ...] = ()
    older: tuple[Claim, ...] = ()
    nodes: tuple[Node, ...] = ()
    services: Mapping[ServiceKey, ServiceState] = field(default_factory=dict)
    changed: frozenset[ServiceKey] = frozenset()
    placements: tuple[Object, ...] = ()
    jobs: Mapping[str, Object] = field(default_factory=dict)
    job_pods: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    loaded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    availability: Availability = field(default_factory=Availability)
    emptied: frozenset[str] = frozenset()
    control_open: Mapping[str, Endpoints] = field(default_factory=dict)
    certificates: Mapping[str, Sequence[str]] | None = None
    units: Finding | None = None
    in_use: Finding | None = None
    tenancy: Tenancy = NO_TENANTS
    authority: str = ""
