"""The plan of one service: model, profiles, route tables, tails, objects, status. Pure.

A step that fails returns a Blocked with its reason; later steps are skipped, so active routes do not change.
A plan that lacks a fact waits for it a moment; then its condition says what it waits for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from edge_api import DevicePool, Placement, reasons
from edge_api.inferenceservices import InferenceService, ModelStatus
from edge_api.quantities import parse_duration, parse_quantity
from edge_api.told_links import LINKS_ANNOTATION
from edge_api.validation_messages import sentences
from edge_operator import liveness, pools
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import ObjectRefusedError, StoreError
from edge_operator.keys import TailKey
from edge_operator.names import FINALIZER
from edge_operator.pool import models, profiles, publishing, reports, tables
from edge_operator.pool.actions import LoadTails, SetFinalizers, SetStatus, UnloadTails, Write
from edge_operator.pool.drafts import Draft, Now, Shared
from edge_operator.pool.facts import Fact, Lookups, Need, NotKnownError, SliceOf
from edge_operator.pool.removals import Removal, removal
from edge_operator.pool.reports import Reporting
from edge_operator.pool.states import PoolState, ServiceState
from edge_operator.pools import Node, PoolMember
from edge_operator.published import by_node
from edge_operator.reading import read
from edge_operator.remedies import explained
from edge_operator.residency import tails_of
from edge_operator.runtimes import published_isolation
from edge_operator.status import Observation
from edge_operator.surroundings import of_service, unfit
from edge_operator.workloads import service_url
from edge_planning.errors import PlanningError

NEVER = float("inf")
PATIENCE = 2.0
"""Seconds that a plan waits for facts before its status says so."""
UNSTEADY = 20.0
"""Seconds after which servers are chosen again while one of several is away, or has just returned."""
FULL_FOR = 600.0
"""Seconds for which a service avoids a server without room for its tails, if there is another one."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What the steps before publishing found, and from what; it holds until one of these changes.

    Attributes:
        inputs: What the steps read besides facts.
        facts: The facts that they read.
        until: When they must be run again in any case, in seconds of the monotonic clock.
        result: The pool and the tables; or why there are none.
        other fields: As in the Draft.
    """

    inputs: tuple[object, ...]
    facts: Mapping[Need[object], Fact | None]
    until: float
    result: tuple[DevicePool, tuple[Placement, ...]] | Blocked
    members: tuple[PoolMember, ...]
    pool: tuple[PoolMember, ...]
    resolved: ModelStatus | None
    unmeasured: Blocked | None
    infeasible: Mapping[str, str]
    replaceable: frozenset[str]
    servers: str
    findings: tuple[Finding, ...]
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What to do for a service, and what its next plan starts from.

    Attributes:
        objects: Writes of its objects, in order.
        status: Its status, if it has to be written. It follows the objects.
        loads: Tails that Triton servers lack.
        unloads: Tails of a service that is being deleted.
        used: The needs that the plan has, met or not.
        tails: The tails that its tables use.
        again_at: When it has to be planned again, in seconds of the monotonic clock.
        blocked: The step that failed.
        gone: Whether nothing is left to do for it.
    """

    objects: tuple[Write, ...] = ()
    status: SetStatus | None = None
    loads: tuple[LoadTails, ...] = ()
    unloads: tuple[UnloadTails, ...] = ()
    used: frozenset[Need[object]] = frozenset()
    tails: frozenset[TailKey] = frozenset()
    again_at: float = NEVER
    blocked: Blocked | None = None
    gone: bool = False
    routed: Routed | None = None
    reporting: Reporting = field(default_factory=Reporting)
    removal: Removal = field(default_factory=Removal)
    full: Mapping[str, float] = field(default_factory=dict)
    """Triton servers without room for its tails, by address, until a time of the monotonic clock."""
    awaits_measurement: bool = False
    """Whether a profiling Job can change it."""
    waiting_since: float | None = None
    """When the plan began to lack something."""
    status_waits: bool = False
    """Whether the status was left to the plan after the objects are written."""


NEW = ServicePlan()
"""The plan before the first."""


def plan_service(
    state: PoolState, own: ServiceState, before: ServicePlan, shared: Shared, now: Now
) -> ServicePlan:
    """Returns the plan of a service. before: its plan until now."""
    if own.body["metadata"].get("deletionTimestamp"):
        return _removed(state, own, before, now)
    try:
        service = read(InferenceService, own.body)
    except ValidationError as error:
        status = reports.report_unreadable(own, sentences(InferenceService, error), now.wall)
        return ServicePlan(status=status, reporting=before.reporting)
    draft = _draft(state, own, before, shared, now, service)
    outcome = _outcome(draft, before)
    return _planned(draft, before, outcome)


def _removed(state: PoolState, own: ServiceState, before: ServicePlan, now: Now) -> ServicePlan:
    found = removal(state, own, before.removal, now.monotonic)
    return ServicePlan(
        objects=found.objects,
        unloads=found.unloads,
        again_at=found.again_at,
        gone=found.gone,
        removal=found,
    )


def _draft(
    state: PoolState,
    own: ServiceState,
    before: ServicePlan,
    shared: Shared,
    now: Now,
    service: InferenceService,
) -> Draft:
    placements, former = by_node(own.placements)
    slices = (state.facts.get(need) for need in before.used if isinstance(need, SliceOf))
    errors = [fact.error for fact in slices if fact is not None]
    errors += [load.error for load in own.loads.values() if isinstance(load.error, StoreError)]
    return Draft(
        key=own.key,
        state=state,
        own=own,
        shared=shared,
        now=now,
        service=service,
        placements=placements,
        former=former,
        isolation=published_isolation(service.spec.isolation, own.client_service, placed=bool(placements)),
        lookups=Lookups(state.facts),
        waiting=0.0 if before.waiting_since is None else now.monotonic - before.waiting_since,
        lost=any(error is not None and error.reason == reasons.NOT_FOUND for error in errors),
        full=frozenset(address for address, until in before.full.items() if until > now.monotonic),
    )


@dataclass(slots=True)
class _Outcome:
    """Where the steps ended. waiting: before they knew enough. again: seconds until the next look."""

    blocked: Blocked | None = None
    again: float = NEVER
    waiting: bool = False
    routed: Routed | None = None
    tails: frozenset[TailKey] = frozenset()


def _outcome(draft: Draft, before: ServicePlan) -> _Outcome:
    """Runs the steps. What the API server refuses, or planning cannot use, blocks the step that met it."""
    outcome = _Outcome()
    try:
        _finalizer(draft)
        _publish(draft, before, outcome)
    except NotKnownError as error:
        if draft.waits(PATIENCE):
            outcome.waiting, outcome.again = True, PATIENCE - draft.waiting
        else:
            outcome.blocked = Blocked(error.need.step, reasons.FETCHING, error.need.doing, transient=True)
    except ObjectRefusedError as error:
        outcome.blocked = Blocked(draft.step, reasons.OBJECT_REFUSED, str(error))
    except PlanningError as error:
        reason, message = explained(error, draft.key.name, draft.service.spec.device_pool)
        outcome.blocked = Blocked(reasons.PLANNED, reason, message)
    return outcome


def _finalizer(draft: Draft) -> None:
    finalizers = draft.body["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        draft.write(SetFinalizers(draft.body, (*finalizers, FINALIZER)))


def _publish(draft: Draft, before: ServicePlan, outcome: _Outcome) -> None:
    """Plans and publishes, with other Triton servers as long as chosen ones turn out to be full."""
    first, routed = tuple(draft.writes), before.routed
    while True:
        draft.writes, draft.loads = list(first), []
        outcome.routed = routed = _routed(draft, routed)
        if isinstance(routed.result, Blocked):
            outcome.blocked = routed.result
            return
        pool, found = routed.result
        outcome.tails = frozenset(tails_of(found, pool.spec, draft.settings.installation))
        try:
            placed = publishing.publish(draft, pool, found)
        except publishing.ServerFull as full:
            draft.full |= full.addresses
            continue
        if draft.placed is not None:
            draft.shared.placed = draft.placed
        if isinstance(placed, Blocked):
            outcome.blocked = placed
        else:
            outcome.again = placed
        return


def _routed(draft: Draft, before: Routed | None) -> Routed:
    """Runs the steps before publishing, unless nothing that they read has changed."""
    inputs, facts = _inputs(draft), draft.state.facts
    if (
        before is not None
        and draft.now.monotonic < before.until
        and before.inputs == inputs
        and all(facts.get(need) is fact for need, fact in before.facts.items())
    ):
        draft.lookups.used |= before.facts.keys()
        draft.members, draft.pool, draft.resolved = before.members, before.pool, before.resolved
        draft.unmeasured, draft.infeasible = before.unmeasured, dict(before.infeasible)
        draft.replaceable, draft.servers = before.replaceable, before.servers
        draft.findings = list(before.findings)
        draft.writes += before.writes
        return before
    draft.findings, draft.infeasible = [], {}
    earlier = len(draft.writes)
    result = _tables(draft)
    again = result.again if isinstance(result, Blocked) else _again(draft)
    if draft.unmeasured is not None:
        again = min(again, draft.unmeasured.again)
    return Routed(
        inputs=inputs,
        facts={need: facts.get(need) for need in draft.lookups.used},
        until=draft.now.monotonic + again,
        result=result,
        members=draft.members,
        pool=draft.pool,
        resolved=draft.resolved,
        unmeasured=draft.unmeasured,
        infeasible=dict(draft.infeasible),
        replaceable=draft.replaceable,
        servers=draft.servers,
        findings=tuple(draft.findings),
        writes=tuple(draft.writes[earlier:]),
    )


def _again(draft: Draft) -> float:
    """Returns the seconds for which a plan holds unless something changes."""
    availability, now = draft.state.availability, draft.now.monotonic
    shared = draft.shared.surroundings
    servers = () if isinstance(shared, Blocked) else shared.pool.spec.triton_servers
    unsteady = len(servers) > 1 and not all(availability.steady(each.url, now) for each in servers)
    return UNSTEADY if unsteady else NEVER


def _inputs(draft: Draft) -> tuple[object, ...]:
    """Returns what the steps before publishing read, but for facts and the time.

    The counters of runtimes are not among it: their reports are not planned for.
    """
    own, state, shared = draft.own, draft.state, draft.shared.surroundings
    several = not isinstance(shared, Blocked) and len(shared.pool.spec.triton_servers) > 1
    metadata = own.body["metadata"]
    return (
        (metadata.get("uid"), metadata.get("generation")),
        draft.service.status.model if draft.service.status is not None else None,
        draft.isolation,
        draft.lost,
        draft.full,
        shared,
        own.profile,
        own.refusals,
        tuple(sorted(map(_planned_from, own.placements))),
        tables.interval(draft, 0),
        state.jobs,
        state.job_pods,
        state.availability if several else None,
    )


def _planned_from(placement: Object) -> tuple[str, ...]:
    """Returns what a plan reads of a Placement: not the counters, and links to two digits."""
    metadata, status = placement["metadata"], placement.get("status") or {}
    links = [status.get("link") or {}, *(status.get("localLinks") or ())]
    notes = [(k, v) for k, v in sorted((metadata.get("annotations") or {}).items()) if k != LINKS_ANNOTATION]
    return (
        str(metadata["name"]),
        repr((metadata.get("uid"), metadata.get("generation"), status.get("observedGeneration"), notes)),
        repr(([_link(each) for each in links], status.get("residuals"), status.get("reason"))),
    )


def _link(reported: Object) -> tuple[object, ...]:
    bandwidth = _rounded(reported.get("bandwidth"), parse_quantity)
    round_trip = _rounded(reported.get("roundTrip"), parse_duration)
    return (reported.get("peer"), reported.get("state"), bandwidth, round_trip)


def _rounded(text: object, parse: Callable[[str], float]) -> str:
    try:
        return f"{parse(str(text)):.1e}"
    except ValueError:
        return str(text)


def _tables(draft: Draft) -> tuple[DevicePool, tuple[Placement, ...]] | Blocked:
    card = models.model(draft)
    if isinstance(card, Blocked):
        return card
    surroundings = _surroundings(draft)
    if isinstance(surroundings, Blocked):
        return surroundings
    pool, nodes = surroundings
    found = models.accuracies(draft, card)
    if isinstance(found, Blocked):
        return found
    profiled = profiles.profiles(draft, card, pool, nodes, found)
    if isinstance(profiled, Blocked):
        return profiled
    card, costs = profiled
    planned = tables.route_tables(draft, card, pool, costs, found)
    return planned if isinstance(planned, Blocked) else (pool, tuple(planned))


def _surroundings(draft: Draft) -> tuple[DevicePool, tuple[Node, ...]] | Blocked:
    shared = draft.shared.surroundings
    if isinstance(shared, Blocked):
        return shared
    found = of_service(shared, draft.service.spec)
    draft.pool, draft.members = found.members, found.entries
    untrusted = pools.missing_certificates(found.pool.spec, draft.settings)
    if untrusted:
        message = f"DevicePool {draft.service.spec.device_pool}: {untrusted}"
        return Blocked(reasons.PLANNED, reasons.NO_CERTIFICATES, message)
    return unfit(found, draft.service.spec) or (found.pool, found.nodes)


def _planned(draft: Draft, before: ServicePlan, outcome: _Outcome) -> ServicePlan:
    now = draft.now.monotonic
    since = before.waiting_since if before.waiting_since is not None else now
    pending = any(map(draft.is_open, draft.writes)) and not before.status_waits
    status, reporting, delayed = None, before.reporting, NEVER
    if not outcome.waiting and not pending:
        status, reporting, delayed = _report(draft, before.reporting, outcome)
    again = min(outcome.again, delayed, outcome.routed.until - now if outcome.routed else NEVER)
    return ServicePlan(
        objects=tuple(draft.writes),
        status=status,
        loads=tuple(draft.loads),
        used=frozenset(draft.lookups.used),
        tails=outcome.tails or before.tails,
        again_at=now + again,
        blocked=outcome.blocked,
        routed=outcome.routed or before.routed,
        reporting=reporting,
        full={address: before.full.get(address, now + FULL_FOR) for address in draft.full},
        awaits_measurement=draft.unmeasured is not None
        or (outcome.blocked is not None and outcome.blocked.step == reasons.PROFILED),
        waiting_since=since if draft.lacking else None,
        status_waits=pending,
    )


def _report(draft: Draft, before: Reporting, outcome: _Outcome) -> tuple[SetStatus | None, Reporting, float]:
    serving = _serving(draft)
    alive = liveness.alive(draft.own.deployments, serving)
    observation = Observation(
        members=draft.members,
        model=draft.resolved,
        placements=_of_entries(draft, serving),
        steps=tuple(draft.findings),
        blocked=outcome.blocked,
        url=service_url(
            draft.key.name, draft.key.namespace, draft.settings.runtime_scheme, draft.settings.cluster_domain
        ),
        pods=reports.pod_troubles(draft.own, draft.members, draft.placements, alive),
        alive=alive,
        infeasible=draft.infeasible,
    )
    return reports.report(before, draft.own, draft.service, observation, draft.now)


def _serving(draft: Draft) -> dict[str, Placement]:
    """Returns the Placements by which the service is judged.

    While a node's runtime has not loaded its first table, the pod of an earlier version serves there.
    """
    serving = dict(draft.placements)
    for node, former in draft.former.items():
        if node not in serving or not serving[node].loaded:
            serving[node] = former
    return serving


def _of_entries(draft: Draft, serving: Mapping[str, Placement]) -> dict[str, Placement]:
    """Returns the Placements of entry nodes."""
    names = {member.node.name for member in draft.members}
    return {node: placement for node, placement in serving.items() if not names or node in names}
