"""The inputs of a reconcile: clients of the three systems, clocks, memory, and the service."""

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_api import ModelProfile, Placement
from edge_api.inferenceservices import InferenceService, ModelSource, ModelStatus, Validation
from edge_api.placements import UNENCODED
from edge_api.policies import Isolation
from edge_api.tensors import Slice
from edge_operator.admitted import Admitted
from edge_operator.cluster import Cluster, Object
from edge_operator.conditions import Blocked, Finding
from edge_operator.pools import PoolMember
from edge_operator.server_availability import Availability
from edge_operator.server_profiles import ServerProfiles
from edge_operator.settings import Settings
from edge_operator.slo import Tally
from edge_operator.store import CodecAccuracies, DeviceProfile, LayerGraph, ModelCard, Store
from edge_operator.triton import Triton


@dataclass(frozen=True, slots=True)
class Clients:
    """API server, model store and Triton; all blocking."""

    cluster: Cluster
    store: Store
    triton: Triton
    admitted: Admitted = field(default_factory=Admitted)
    server_profiles: ServerProfiles | None = None
    """Measures on Triton servers that name no node; None if this process cannot."""
    availability: Availability = field(default_factory=Availability)


class ServiceKey(NamedTuple):
    """An InferenceService."""

    namespace: str
    name: str


class NamespaceKey(NamedTuple):
    """A namespace, which has one runtime at each of its entry nodes."""

    namespace: str


class PoolKey(NamedTuple):
    """A DevicePool."""

    name: str


class TailKey(NamedTuple):
    """A model at the HTTP address of a Triton server, with its scheme."""

    address: str
    name: str


class SliceKey(NamedTuple):
    """A subgraph between two sets of tensors, with the codecs in which they are received and sent."""

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    decode: str = UNENCODED
    encode: str = UNENCODED


@dataclass
class Memory:
    """Caches between two reconciles of a service; empty after a restart, which costs only time."""

    card: tuple[ModelSource, ModelCard] | None = None
    recorded: bool = True
    """Whether the metadata can be those of the ModelProfile; else the model store is called."""
    slices: dict[SliceKey, Slice] = field(default_factory=dict)
    loaded: frozenset[TailKey] = frozenset()
    """Tails that their Triton server had at the last look: it is not called for them."""
    published: frozenset[TailKey] = frozenset()
    """Tails that the service's Placements use or wait for, which a restarted Triton must load again."""
    full: dict[str, float] = field(default_factory=dict)
    """Triton servers without room for its tails, by address, until a time of the monotonic clock."""
    leaving: frozenset[TailKey] = frozenset()
    """Tails of a service that is being deleted, until they are unloaded."""
    leaving_since: float | None = None
    """When the first attempt to unload them failed, in seconds of the monotonic clock."""
    status_written: float = float("-inf")
    tally: Tally | None = None
    """Requests that were counted since the status was written."""
    waiting: bool = False
    """Whether a measurement is awaited."""
    refusal: str = ""
    """The last refusal that was recorded as an event, since no condition could report it."""
    blocked: Blocked | None = None
    """The step that failed in the last reconcile."""
    layers: tuple[str, LayerGraph | None] | None = None
    """The layers of the model with this digest."""
    cuts: tuple[tuple[object, ...], tuple[ModelCard, dict[str, DeviceProfile]]] | None = None
    """Metadata and measurements with the cuts that were found, and what they were found from."""
    accuracies: tuple[str, Validation, CodecAccuracies] | None = None
    """Accuracies with codecs, with the model's digest and the validation data of the measurement."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks that a reconcile needs: monotonic time and wall-clock time."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class RuntimeFindings:
    """What a namespace's reconcile found out about its runtimes.

    refused: what the API server refused, by service. notes: what people should know, by service.
    """

    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def concerning(self, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns what was refused for a service, and the notes on it."""
        return tuple(self.refused.get(service, ())), tuple(self.notes.get(service, ()))


NOTHING = RuntimeFindings()


@dataclass(slots=True)
class Run:
    """One reconcile of one service, and what its steps have found so far.

    scope: the only namespace that the operator can read; None: all. members: the entry nodes. pool: all nodes
    of the pool.
    """

    key: ServiceKey
    clients: Clients
    settings: Settings
    memory: Memory
    clock: Clock
    body: Object
    service: InferenceService
    placements: dict[str, Placement]
    isolation: Isolation = "Shared"
    """Of the runtimes that the tables are published for; while it changes, not the one of the spec."""
    former: dict[str, Placement] = field(default_factory=dict)
    """Placements that an earlier version made, by node; they serve until the new ones do."""
    runtimes: RuntimeFindings = NOTHING
    """Of the last reconcile of the namespace."""
    scope: str | None = None
    members: tuple[PoolMember, ...] = ()
    pool: tuple[PoolMember, ...] = ()
    profile: ModelProfile | None = None
    """As the cluster has it."""
    resolved: ModelStatus | None = None
    """What the model's address was resolved to."""
    unmeasured: Blocked | None = None
    """Why routes through Triton are not planned yet; the local ones do not wait."""
    infeasible: dict[str, str] = field(default_factory=dict)
    """Why there is no route, by entry node."""
    replaceable: frozenset[str] = frozenset()
    """Addresses of chosen Triton servers in whose place another one can be used."""
    servers: str = ""
    """Which Triton servers are lost, and what is used instead."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def known(self) -> Mapping[str, Placement]:
        """The newest Placement of each node."""
        return {**self.former, **self.placements}
