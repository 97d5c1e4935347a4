"""The plan of a pool: a pure function of what was observed, of the plan before, and of the time.

Cost: the services that changed or are due, each of which is planned only if what it was planned from has
changed; the others cost nothing.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from types import MappingProxyType

from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import DevicePoolStatus
from edge_api.earlier import earlier_spellings
from edge_api.objects import written
from edge_api.validation_messages import sentences
from edge_operator.authority.failures import certificates_finding
from edge_operator.conditions import Blocked
from edge_operator.keys import ServiceKey
from edge_operator.pool.actions import SetStatus
from edge_operator.pool.cpu_weights import ReadWeight, published_weights, read_weights
from edge_operator.pool.demands import NO_PLAN, PooledPlan, plan_services, runtime_memory
from edge_operator.pool.drafts import Draft, Now, Shared
from edge_operator.pool.measurements import measuring_nodes
from edge_operator.pool.pooled import PlannedEntry, Pool, ServerState
from edge_operator.pool.preparing import prepare
from edge_operator.pool.protection import held_up
from edge_operator.pool.services import NEW, ServicePlan, begun, failed_by, finished
from edge_operator.pool.states import PoolState
from edge_operator.pool.status import pool_status
from edge_operator.pool.surroundings import Surroundings, of_pool
from edge_operator.pool.tenancy import pool_tenants
from edge_operator.pool_nodes import Node, missing_certificates
from edge_operator.reading import read, unreadable
from edge_operator.tritons.control_checks import control_finding
from edge_operator.tritons.former_servers import former_servers, listed_servers
from edge_planning.errors import PlanningError
from edge_planning.sharing import MoveBudget

MOVES_A_MINUTE = 60
"""Changes of tables in a pool that only raise accuracy, with what tenants borrow."""
WEIGHED_A_MINUTE = 30
"""Nodes of a pool whose runtimes divide the processors by new counts of the plan."""
REFILL = 10.0
"""Seconds until the changes for which that did not suffice are planned again."""
_FULL = MoveBudget(MOVES_A_MINUTE)
_UNWEIGHED = MoveBudget(WEIGHED_A_MINUTE)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What to do for a pool and its services.

    Attributes:
        services: The plan of each service.
        planned: The services whose plan was made in this one; only their actions are new.
        status: The pool's status, if it has to be written.
        surroundings: The pool and its nodes as read, and what they were read from.
        joint: What each service gets of the pool, and what that was planned from.
        reported: The status, and what it was decided from.
    """

    services: Mapping[ServiceKey, ServicePlan] = field(default_factory=dict)
    planned: frozenset[ServiceKey] = frozenset()
    status: SetStatus | None = None
    surroundings: "Read | None" = None
    joint: "Joint | None" = None
    reported: "Reported | None" = None

    @property
    def again_at(self) -> float:
        """When a service or the pool has to be planned again, in seconds of the monotonic clock."""
        due = [plan.again_at for plan in self.services.values()]
        return min([*due, inf if self.joint is None else self.joint.again_at], default=inf)


@dataclass(frozen=True, slots=True)
class Read:
    """A pool and the nodes as read. body, nodes: what they were read from."""

    body: tuple[object, ...]
    nodes: tuple[Node, ...]
    found: Surroundings | Blocked


@dataclass(frozen=True, slots=True)
class Reported:
    """The status of the pool, if it has to be written, and what it was decided from."""

    inputs: tuple[object, ...]
    status: SetStatus | None


@dataclass(frozen=True, slots=True)
class Joint:
    """The plan of all services together, and the entries of each.

    Attributes:
        budget: Of changes of tables for accuracy alone, with what tenants borrow.
        weighing: Budget of nodes whose processors are divided by new counts.
        again_at: When changes that wait for a budget are planned, in seconds of the monotonic clock.
        weights: What the Placements of the pool say of the weights of their runtimes.
    """

    pool: Pool | None
    plan: PooledPlan
    entries: Mapping[ServiceKey, tuple[PlannedEntry, ...]]
    budget: MoveBudget = _FULL
    weighing: MoveBudget = _UNWEIGHED
    again_at: float = inf
    weights: Mapping[str, ReadWeight] = field(default_factory=dict)


NOTHING = PoolPlan()
"""The plan before the first."""
_ALONE = Joint(None, NO_PLAN, {})


def plan(state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
    """Returns the plan of a pool."""
    surroundings = _surroundings(state, previous.surroundings)
    everything = surroundings is not previous.surroundings
    unplaced = sum(not own.placements for own in state.services.values())
    shared = Shared(surroundings.found, measuring_nodes(state.jobs.values()), state.placements, unplaced)
    services: dict[ServiceKey, ServicePlan] = {}
    drafts: dict[ServiceKey, Draft] = {}
    planned = set()

    def begin(key: ServiceKey) -> None:
        before = previous.services.get(key, NEW)
        planned.add(key)
        try:
            found = begun(state, state.services[key], before, shared, now)
            if isinstance(found, ServicePlan):
                services[key] = found
                return
            prepare(found, before.prepared, before.pooled, before.measured)
        except Exception as error:
            services[key] = failed_by(error, before, now)
            return
        drafts[key] = found

    for key in state.services:
        before = previous.services.get(key)
        if before is None or before.again_at <= now.monotonic or everything or key in state.changed:
            begin(key)
        else:
            services[key] = before
    joint = _joint(state, surroundings.found, previous.joint or _ALONE, services, drafts, now)
    for key in _affected(joint, previous.joint or _ALONE):
        if key in state.services and key not in planned:
            del services[key]
            begin(key)
    for key, draft in drafts.items():
        failed = joint.plan.failed.get(key)
        before = previous.services.get(key, NEW)
        try:
            services[key] = finished(draft, before, joint.entries.get(key, ()), failed)
        except Exception as error:
            services[key] = failed_by(error, before, now)
    ordered = MappingProxyType({key: services[key] for key in state.services})
    reported = _reported(state, previous.reported, now)
    return PoolPlan(ordered, frozenset(planned), reported.status, surroundings, joint, reported)


def _joint(
    state: PoolState,
    surroundings: Surroundings | Blocked,
    previous: Joint,
    services: Mapping[ServiceKey, ServicePlan],
    drafts: Mapping[ServiceKey, Draft],
    now: Now,
) -> Joint:
    """Returns what each service gets; the plan before, if no service brings anything else.

    A service that cannot be planned now keeps what it has.
    """
    if isinstance(surroundings, Blocked):
        return previous
    found = {key: drafts[key].pooled if key in drafts else services[key].pooled for key in state.services}
    members = {member.node.name: member for member in surroundings.members}
    pooled = tuple(
        service
        for _, service in sorted(found.items())
        if service is not None
        and all(members.get(e.node.name) == e for e in service.entries)
        and state.tenancy.stop(service.key.namespace) != "HoldAndDrain"
        and not service.spec.suspend
    )
    spec, availability = surroundings.pool.spec, state.availability
    weights = read_weights(state.placements, previous.weights)
    pool = Pool(
        spec,
        surroundings.members,
        pooled,
        servers={
            server.name: ServerState(
                away=availability.away(server.url, now.monotonic),
                steady=availability.steady(server.url, now.monotonic),
            )
            for server in spec.triton_servers
        },
        runtime_memory=runtime_memory(state.settings.runtime_resources),
        tenants=pool_tenants(state.tenancy, state.name, {key.namespace for key in state.services}),
        tenancy=state.tenancy,
        published=published_weights(weights.values()),
    )
    if pool == previous.pool and now.monotonic < previous.again_at:
        return replace(previous, weights=weights)
    try:
        made = plan_services(
            pool,
            previous.plan,
            previous.budget.moves(now.monotonic),
            previous.weighing.moves(now.monotonic),
        )
    except PlanningError as error:
        failed = replace(previous.plan, failed=dict.fromkeys(found, error))
        return replace(previous, pool=pool, plan=failed, again_at=inf, weights=weights)
    entries: dict[ServiceKey, list[PlannedEntry]] = defaultdict(list)
    for key, entry in made.entries.items():
        entries[ServiceKey(key.namespace, key.service)].append(entry)
    budget = previous.budget.after(made.plan.spent, now.monotonic)
    weighing = previous.weighing.after(made.weighed.spent, now.monotonic)
    again_at = now.monotonic + REFILL if made.plan.waiting or made.weighed.waiting else inf
    by_service = {key: tuple(each) for key, each in entries.items()}
    return Joint(pool, made, by_service, budget, weighing, again_at, weights)


def _affected(joint: Joint, previous: Joint) -> list[ServiceKey]:
    """Returns the services that get something else than before."""
    if joint.entries is previous.entries and joint.plan is previous.plan:
        return []
    keys = joint.entries.keys() | previous.entries.keys() | joint.plan.failed.keys()
    return [
        key
        for key in sorted(keys)
        if joint.entries.get(key) != previous.entries.get(key)
        or (key in joint.plan.failed) != (key in previous.plan.failed)
    ]


def _surroundings(state: PoolState, before: Read | None) -> Read:
    """Returns the pool and the nodes as read: those before, as long as nothing of them has changed."""
    metadata = state.body["metadata"] if state.body is not None else {}
    names = () if state.body is not None else state.pools
    stopped = {key.namespace: state.tenancy.stop(key.namespace) for key in state.services}
    body = (metadata.get("uid"), metadata.get("generation"), names, state.settings, state.older, stopped)
    if before is not None and before.body == body and before.nodes == state.nodes:
        return before
    return Read(body, state.nodes, of_pool(state.name, state.body, state.pools, state.nodes, state.older))


def _reported(state: PoolState, before: Reported | None, now: Now) -> Reported:
    """Returns the status, which is the one before if nothing that it tells of has changed.

    It tells of all nodes. Former Triton servers are forgotten after a time.
    """
    body = state.body or {"metadata": {}}
    status = body.get("status") or {}
    inputs = (
        *(body["metadata"].get(name) for name in ("uid", "generation", "deletionTimestamp")),
        status,
        state.nodes,
        state.older,
        state.settings,
        state.emptied,
        state.control_open,
        state.certificates,
        state.units,
        state.in_use,
        frozenset(key.namespace for key in state.services),
    )
    if before is not None and before.inputs == inputs and not status.get("formerTritonServers"):
        return before
    return Reported(inputs, _status(state, now))


def _status(state: PoolState, now: Now) -> SetStatus | None:
    """Returns the status of the pool if it changed. A deleted pool without services gets no status."""
    body = state.body
    if body is None or (body["metadata"].get("deletionTimestamp") and state.in_use is None):
        return None
    servers = {
        "triton_servers": listed_servers(body),
        "former_triton_servers": former_servers(body, state.emptied, now.wall),
    }
    status = written(_found(state, now).model_copy(update=servers))
    before = body.get("status") or {}
    return None if status == before else SetStatus(body, status, held_up(body, before, state.in_use))


def _found(state: PoolState, now: Now) -> DevicePoolStatus:
    body = state.body
    assert body is not None, "a pool that does not exist has no status"
    try:
        pool = read(DevicePool, body)
    except ValidationError as error:
        return unreadable(DevicePoolStatus, body, sentences(DevicePool, error), ("Ready",), now.wall)
    untrusted = missing_certificates(pool.spec, state.settings)
    namespaces = {state.settings.namespace, *(key.namespace for key in state.services)}
    further = (
        control_finding(pool, state.control_open),
        certificates_finding(state.certificates, namespaces),
        state.units,
        state.in_use,
    )
    return pool_status(
        pool,
        state.nodes,
        now.wall,
        state.older,
        untrusted=untrusted,
        earlier=earlier_spellings(body),
        further=[each for each in further if each],
    )
