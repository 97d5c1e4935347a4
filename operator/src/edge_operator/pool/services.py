"""The plan of one service: model, profiles, route tables, tails, objects, status. Pure.

A step that fails returns a Blocked with its reason; later steps are skipped, so active routes do not change.
A plan that lacks a fact waits for it a moment; then its condition says what it waits for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from edge_api import Placement, reasons
from edge_api.inferenceservices import InferenceService
from edge_api.validation_messages import sentences
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked
from edge_operator.errors import ObjectRefusedError
from edge_operator.keys import TailKey
from edge_operator.nodes.runtimes import published_isolation
from edge_operator.nodes.workloads import service_url
from edge_operator.pool import (
    liveness,
    publishing,
    reports,
    revisions,
    shortages,
    tables,
)
from edge_operator.pool.actions import Delete, LoadTails, SetStatus, UnloadTails, Write
from edge_operator.pool.drafts import Compared, Draft, Now, Shared
from edge_operator.pool.facts import Lookups, Need, NotKnownError, SliceOf
from edge_operator.pool.parsed import Parsed, parsed
from edge_operator.pool.pooled import PlannedEntry, PooledService
from edge_operator.pool.preparing import PATIENCE, unsteady
from edge_operator.pool.published import by_node
from edge_operator.pool.rates import Measured
from edge_operator.pool.remedies import explained
from edge_operator.pool.removals import Removal, removal
from edge_operator.pool.reports import Reporting
from edge_operator.pool.results import Prepared, Rendered
from edge_operator.pool.states import PoolState, ServiceState
from edge_operator.pool.status import Observation
from edge_operator.tritons.residency import tails_of
from edge_planning.errors import PlanningError

NEVER = float("inf")
DEFECT = 30.0
"""Seconds after which a service is planned again that met a defect of the operator."""
FULL_FOR = 600.0
"""Seconds for which a service avoids a server without room for its tails, if there is another one."""


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
        defect: What went wrong in the operator itself; the service keeps what it has.
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
    defect: Exception | None = None
    prepared: Prepared | None = None
    pooled: PooledService | None = None
    """What of it is planned together with the other services of the pool."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """What was measured of the arrival of requests, by entry node."""
    rendered: Rendered | None = None
    reporting: Reporting = field(default_factory=Reporting)
    removal: Removal = field(default_factory=Removal)
    full: Mapping[str, float] = field(default_factory=dict)
    """Triton servers without room for its tails, by address, until a time of the monotonic clock."""
    parsed: Parsed = field(default_factory=Parsed)
    """Its objects, and those of its Placements."""
    covered: Mapping[str, Compared | None] = field(default_factory=dict)
    """The tables that are published as they are rendered, by node."""
    awaits_measurement: bool = False
    """Whether a profiling Job can change it."""
    waiting_since: float | None = None
    """When the plan began to lack something."""
    status_waits: bool = False
    """Whether the status was left to the plan after the objects are written."""


NEW = ServicePlan()
"""The plan before the first."""


def begun(
    state: PoolState, own: ServiceState, before: ServicePlan, shared: Shared, now: Now
) -> Draft | ServicePlan:
    """Begins the plan of a service. Returns all of it for one that is invalid, or that is being deleted.

    One that is being deleted gets nothing of the pool; `removed` decides on what it has.
    """
    if own.body["metadata"].get("deletionTimestamp"):
        return ServicePlan(removal=before.removal)
    try:
        found = parsed(own.body, own.placements, before.parsed)
    except ValidationError as error:
        status = reports.report_unreadable(own, sentences(InferenceService, error), now.wall)
        return replace(
            before, objects=(), status=status, loads=(), unloads=(), again_at=NEVER, blocked=None, defect=None
        )
    return _draft(state, own, before, shared, now, found)


def failed_by(error: Exception, before: ServicePlan, now: Now) -> ServicePlan:
    """Returns the plan of a service that could not be planned because of a defect: it keeps what it has."""
    blocked = Blocked(reasons.PLANNED, reasons.CANNOT_PLAN, repr(error))
    again = now.monotonic + DEFECT
    return replace(
        before, objects=(), status=None, loads=(), unloads=(), again_at=again, blocked=blocked, defect=error
    )


def is_polled(own: ServiceState, planned: ServicePlan | None, now: float) -> bool:
    """Whether a service is due that waits for what no event tells: a Job's pods, a candidate's reports."""
    if planned is None or planned.again_at > now:
        return False
    return own.revision is not None or (bool(own.fetches) and planned.blocked is not None)


def removed(pool: Object | None, own: ServiceState, before: ServicePlan, now: Now) -> ServicePlan:
    """Returns what to do next for a service that is being deleted. pool: the DevicePool, if it exists."""
    try:
        found = removal(pool, own, before.removal, now.monotonic)
    except Exception as error:
        return failed_by(error, ServicePlan(removal=before.removal), now)
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
    found: Parsed,
) -> Draft:
    assert found.service is not None  # it was read
    _, service = found.service
    placements, former = by_node(found.placements.values())
    decision = revisions.decided(own, service, shared.surroundings, state.nodes, placements, now.wall)
    slices = (state.facts.get(need) for need in before.used if isinstance(need, SliceOf))
    errors = [fact.error for fact in slices if fact is not None]
    errors += [error for load in own.loads.values() for error in load.unread.values()]
    return Draft(
        key=own.key,
        state=state,
        own=own,
        shared=shared,
        now=now,
        parsed=found,
        covered=before.covered,
        service=revisions.planned_for(service, decision),
        written=service,
        rollout=decision,
        placements={node: each for node, each in placements.items() if each.spec.refusal is None},
        refusing={node: each for node, each in placements.items() if each.spec.refusal is not None},
        former=former,
        isolation=published_isolation(service.spec.isolation, own.client_service, placed=bool(placements)),
        lookups=Lookups(state.facts),
        waiting=0.0 if before.waiting_since is None else now.monotonic - before.waiting_since,
        lost=any(error is not None and error.reason == reasons.NOT_FOUND for error in errors),
        full=frozenset(address for address, until in before.full.items() if until > now.monotonic),
    )


def finished(
    draft: Draft, before: ServicePlan, entries: Sequence[PlannedEntry], failed: PlanningError | None
) -> ServicePlan:
    """Returns the plan of a service, with what the plan of all services gives it.

    entries: of its entry nodes, and of nodes that are intermediate ones only. failed: why it cannot be
    planned.
    """
    _revise(draft)
    try:
        _publish(draft, before, entries, failed)
    except NotKnownError as error:
        draft.lacks(error.need.step, error.need.doing, PATIENCE)
    except publishing.ServerFull as full:
        # All services are planned again without it.
        draft.full |= full.addresses
        draft.waits_for_plan, draft.again = True, 0.0
    except ObjectRefusedError as error:
        draft.blocked = Blocked(draft.step, reasons.OBJECT_REFUSED, str(error))
    return _planned(draft, before)


def _revise(draft: Draft) -> None:
    """Has the candidate created, changed or deleted. A refusal of it does not concern the service."""
    decision, revision = draft.rollout, draft.own.revision
    if decision is None:
        return
    draft.again = min(draft.again, decision.again)
    wanted = revisions.wanted(draft.own, draft.written, decision)
    live = revision.body if revision is not None else None
    if live is not None and live["metadata"].get("deletionTimestamp"):
        return
    try:
        if wanted is not None:
            draft.apply(wanted, live, own=live is None)
        elif live is not None and revisions.is_over(draft.written, decision):
            draft.write(Delete(live))
    except ObjectRefusedError as error:
        draft.rollout = decision.waiting(str(error))


def _publish(
    draft: Draft, before: ServicePlan, entries: Sequence[PlannedEntry], failed: PlanningError | None
) -> None:
    if (stopped := _stopped(draft)) is not None:
        publishing.withdraw(draft, stopped.message)
        draft.blocked = stopped
        return
    if draft.blocked is not None or draft.waits_for_plan or draft.prepared is None:
        return
    ready = draft.prepared.result
    if isinstance(ready, Blocked):
        draft.blocked = ready
        return
    if failed is not None:
        reason, message = explained(failed, draft.key.name, ready.pool.metadata.name)
        draft.blocked = Blocked(reasons.PLANNED, reason, message)
        return
    draft.rendered = found = tables.rendered(draft, ready, entries, before.rendered)
    if isinstance(found.result, Blocked):
        draft.blocked = found.result
        return
    draft.tails = frozenset(tails_of(found.result, ready.pool.spec, draft.settings.installation))
    published = revisions.with_candidate(found.result, draft.rollout, draft.own.revision)
    placed = publishing.publish(draft, ready.pool, published)
    if isinstance(placed, Blocked):
        draft.blocked = placed
    else:
        draft.again = min(draft.again, placed)


def _stopped(draft: Draft) -> Blocked | None:
    """Returns why the service has no tables whatever the plan: it is suspended, or its tenant is drained."""
    if draft.service.spec.suspend:
        return Blocked(reasons.PLANNED, reasons.SUSPENDED, shortages.suspended(draft.key.name))
    if draft.state.tenancy.stop(draft.key.namespace) == "HoldAndDrain":
        message = shortages.drained(draft.state.tenancy.of(draft.key.namespace))
        return Blocked(reasons.PLANNED, reasons.TENANT_DRAINED, message)
    return None


def _planned(draft: Draft, before: ServicePlan) -> ServicePlan:
    now = draft.now.monotonic
    since = before.waiting_since if before.waiting_since is not None else now
    pending = any(map(draft.is_open, draft.writes)) and not before.status_waits
    status, reporting, delayed = None, before.reporting, NEVER
    if not draft.waits_for_plan and not pending:
        status, reporting, delayed = _report(draft, before.reporting)
    due = draft.prepared.until - now if draft.prepared is not None else NEVER
    again = min(draft.again, delayed, unsteady(draft), due)
    has_tables = draft.rendered is not None and not isinstance(draft.rendered.result, Blocked)
    return ServicePlan(
        objects=tuple(draft.writes),
        status=status,
        loads=tuple(draft.loads),
        # A plan that did not get as far as the slices still needs to know that the store has lost some.
        used=frozenset(draft.lookups.used | (before.used if draft.rendered is None else frozenset())),
        tails=draft.tails if has_tables or _stopped(draft) is not None else before.tails,
        again_at=now + again,
        blocked=draft.blocked,
        parsed=draft.parsed,
        covered={node: each for node, each in draft.covered.items() if node in draft.placements},
        prepared=draft.prepared if draft.prepared is not None else before.prepared,
        pooled=draft.pooled,
        measured=draft.measured,
        rendered=draft.rendered if draft.rendered is not None else before.rendered,
        reporting=reporting,
        full={address: before.full.get(address, now + FULL_FOR) for address in draft.full},
        awaits_measurement=draft.unmeasured is not None
        or (draft.blocked is not None and draft.blocked.step == reasons.PROFILED),
        waiting_since=since if draft.lacking else None,
        status_waits=pending,
    )


def _report(draft: Draft, before: Reporting) -> tuple[SetStatus | None, Reporting, float]:
    serving = _serving(draft)
    alive = liveness.alive(draft.own.deployments, serving)
    observation = Observation(
        members=draft.members,
        model=draft.resolved,
        placements=_of_entries(draft, serving),
        steps=tuple(draft.findings),
        blocked=draft.blocked,
        url=service_url(
            draft.key.name, draft.key.namespace, draft.settings.runtime_scheme, draft.settings.cluster_domain
        ),
        pods=reports.pod_troubles(draft.own, draft.members, draft.placements, alive),
        alive=alive,
        infeasible=draft.infeasible,
        withheld=draft.withheld,
        rollout=draft.rollout,
        revision=draft.own.revision,
        version=draft.own.version,
    )
    return reports.report(before, draft.own, draft.written, observation, draft.now)


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
