"""The plan of one service while it is made, and what the plans of a pool's services share."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_api import ModelProfile, Placement, reasons
from edge_api.first_requests import FirstRequestsTurn
from edge_api.inferenceservices import InferenceService
from edge_api.policies import Isolation
from edge_api.rollouts import ModelStatus
from edge_operator.cluster import Object
from edge_operator.conditions import STEPS, Blocked, Finding, Step
from edge_operator.errors import ObjectRefusedError
from edge_operator.keys import ServiceKey, TailKey
from edge_operator.pool.actions import Apply, Delete, Event, LoadTails, SetFinalizers, Write, wanted_by
from edge_operator.pool.facts import Lookups
from edge_operator.pool.parsed import Parsed
from edge_operator.pool.pooled import PooledService
from edge_operator.pool.published import readable
from edge_operator.pool.rates import Measured
from edge_operator.pool.results import Prepared, Rendered
from edge_operator.pool.rollout_states import Decision
from edge_operator.pool.server_links import peer_of_body
from edge_operator.pool.states import PoolState, ServiceState
from edge_operator.pool.surroundings import Surroundings
from edge_operator.pool_nodes import PoolMember
from edge_operator.settings import Settings
from edge_operator.versions import covers

EACH_WAITS, LONGEST_PATIENCE = 0.1, 30.0
"""Seconds for each service of the pool without Placements after which a plan says what it waits for, and at
most."""


@dataclass(frozen=True, slots=True)
class Now:
    """The time of a plan. monotonic: in seconds. wall: that of people."""

    monotonic: float
    wall: datetime.datetime


@dataclass(slots=True)
class Shared:
    """What the plans of a pool's services take from each other.

    Attributes:
        surroundings: The pool and its nodes, without entry nodes; or why they cannot be used.
        measuring: Nodes with a measurement, also those that this plan begins.
        placements: Of the pool.
        unplaced: Number of services of the pool without Placements.
    """

    surroundings: Surroundings | Blocked
    measuring: set[str] = field(default_factory=set)
    placements: tuple[Object, ...] = ()
    unplaced: int = 0
    _at: dict[str, list[Placement]] = field(default_factory=dict)

    def at(self, nodes: Iterable[str]) -> Mapping[str, list[Placement]]:
        """Returns Placements of nodes, one for each Triton server that they name, as far as they are needed.

        They tell of links to servers that a service does not use. With one server in the pool, none do.
        """
        shared = self.surroundings
        if isinstance(shared, Blocked) or len(shared.pool.spec.triton_servers) < 2:
            return {}
        return {node: self._at.setdefault(node, self._read(node)) for node in nodes}

    def _read(self, node: str) -> list[Placement]:
        here: dict[str, Object] = {}
        bodies = [body for body in self.placements if body["spec"]["node"] == node]
        for body in sorted(bodies, key=lambda each: ("status" not in each, each["metadata"]["name"])):
            here.setdefault(peer_of_body(body), body)
        return readable(here.values())


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A rendered table, and the metadata of the published one, which already has all of it.

    A table is the same object as long as nothing that it is rendered from changes.
    """

    table: Placement
    live: tuple[object, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compared) and self.table is other.table and self.live == other.live


@dataclass(slots=True)
class Draft:
    """The plan of a service, as far as its steps have made it.

    Attributes:
        parsed: The objects of the service, which `written` and the Placements are of.
        isolation: Of the runtimes that the tables are for; while it changes, not the one of the spec.
        written: The InferenceService as it is stored; `service` has the model that is planned.
        placements: Published, by node.
        refusing: Published to refuse requests, by node.
        former: Placements of an earlier version, by node; they serve until the others do.
        rollout: What is done about the revisions of its model; None for a candidate, which has none.
        waiting: Seconds for which the plan has waited for something that it has to know.
        lacking: Whether it still lacks that.
        lost: Whether the model store has lost a slice of the model, which is then registered again.
        full: Addresses of Triton servers without room for the tails.
        members: The entry nodes.
        pool: All nodes of the pool.
        resolved: What the model's address was resolved to.
        covered: Tables that were compared with the published ones and need no write, by node.
        recorded: Whether the metadata are those of the ModelProfile, so that the store need not be called.
        unmeasured: Why routes through Triton are not planned yet; the local ones do not wait.
        first_requests: What runtimes do with the first requests, by entry node.
        infeasible: Why there is no route, by entry node.
        withheld: Why there is no new table although there are routes, by entry node.
        replaceable: Addresses of chosen Triton servers in whose place another one can be used.
        servers: Which Triton servers are lost, and what is used instead.
        prepared: What the first steps found.
        pooled: What is planned together with other services.
        measured: What was measured of the arrival of requests, by entry node.
        rendered: The tables, or why the service has no tables.
        tails: Those that the tables use.
        blocked: The step that failed.
        waits_for_plan: Whether the plan cannot be completed yet; its status is left as it is.
        again: Seconds after which the next plan is due in any case.
        findings: Conditions of the steps that succeeded.
        writes: What the steps write, in order.
        loads: Tails that their servers lack.
    """

    key: ServiceKey
    state: PoolState
    own: ServiceState
    shared: Shared
    now: Now
    service: InferenceService
    written: InferenceService
    placements: dict[str, Placement]
    refusing: dict[str, Placement]
    former: dict[str, Placement]
    isolation: Isolation
    lookups: Lookups
    parsed: Parsed = field(default_factory=Parsed)
    covered: Mapping[str, Compared | None] = field(default_factory=dict)
    rollout: Decision | None = None
    waiting: float = 0.0
    lacking: bool = False
    lost: bool = False
    full: frozenset[str] = frozenset()
    members: tuple[PoolMember, ...] = ()
    pool: tuple[PoolMember, ...] = ()
    profile: ModelProfile | None = None
    resolved: ModelStatus | None = None
    recorded: bool = False
    unmeasured: Blocked | None = None
    first_requests: Mapping[str, FirstRequestsTurn] = field(default_factory=dict)
    infeasible: dict[str, str] = field(default_factory=dict)
    withheld: dict[str, Blocked] = field(default_factory=dict)
    replaceable: frozenset[str] = frozenset()
    servers: str = ""
    prepared: Prepared | None = None
    pooled: PooledService | None = None
    measured: Mapping[str, Measured] = field(default_factory=dict)
    rendered: Rendered | None = None
    tails: frozenset[TailKey] = frozenset()
    blocked: Blocked | None = None
    waits_for_plan: bool = False
    again: float = float("inf")
    findings: list[Finding] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    loads: list[LoadTails] = field(default_factory=list)

    @property
    def body(self) -> Object:
        """The InferenceService."""
        return self.own.body

    @property
    def settings(self) -> Settings:
        """Of the installation."""
        return self.state.settings

    @property
    def known(self) -> Mapping[str, Placement]:
        """The newest Placement of each node."""
        return {**self.former, **self.placements}

    def apply(self, body: Object, live: Object | None, *, own: bool = False) -> bool:
        """Has an object applied unless it is as wanted; returns whether it is applied.

        own: whether an object of this name that belongs to something else must not be taken over. Raises
        ObjectRefusedError if the API server has just refused the same.
        """
        if live is not None and covers(live, body):
            return False
        self.write(Apply(body, live, own))
        return True

    def write(self, action: Apply | Delete | SetFinalizers) -> None:
        """Adds a write. Raises ObjectRefusedError if the API server has just refused the same."""
        self.writes.append(action)
        if not self.is_open(action):
            raise ObjectRefusedError(self.own.refusals[action.ref].message)

    def is_open(self, action: Write) -> bool:
        """Whether the API server has not just refused the same."""
        refusal = None if isinstance(action, Event) else self.own.refusals.get(action.ref)
        return refusal is None or refusal.wanted != wanted_by(action)

    def waits(self, patience: float) -> bool:
        """Whether the plan still waits, rather than to say what it lacks. patience: in seconds."""
        self.lacking = True
        return self.waiting < patience

    def lacks(self, step: Step, doing: str, patience: float) -> None:
        """Waits for a fact, or says what the plan waits for.

        patience: in seconds, at least: while many services of the pool are placed, facts take longer, and a
        condition for each would make them take longer still.
        """
        patience = max(patience, min(EACH_WAITS * self.shared.unplaced, LONGEST_PATIENCE))
        if self.waits(patience):
            self.waits_for_plan = True
            self.again = min(self.again, patience - self.waiting)
        else:
            self.blocked = Blocked(step, reasons.FETCHING, doing, transient=True)

    def found(self, finding: Finding) -> None:
        """Notes that a step succeeded."""
        self.findings.append(finding)

    @property
    def step(self) -> Step:
        """The first step that has not succeeded."""
        done = {finding.type for finding in self.findings}
        return next((step for step in STEPS if step not in done), reasons.PLACED)
