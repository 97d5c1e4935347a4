"""What a service brings to the plan of its pool: its model, its measurements, its nodes, its links. Pure.

A service is planned with the others only if what was prepared has changed. Counters of runtimes are not
among it, unless the rate of requests left the one that was planned with.
"""

from collections.abc import Mapping

from edge_api import Placement, reasons
from edge_api.placement_reports import LinkStatus, LocalLinkStatus
from edge_api.told_links import LINKS_ANNOTATION
from edge_operator.conditions import Blocked
from edge_operator.errors import ObjectRefusedError
from edge_operator.names import FINALIZER
from edge_operator.pool import fetches, first_requests, models, node_links, profiles, rates, shapes
from edge_operator.pool.actions import SetFinalizers
from edge_operator.pool.drafts import Draft
from edge_operator.pool.facts import NotKnownError
from edge_operator.pool.pooled import LinkKey, PooledService
from edge_operator.pool.published_links import published_links
from edge_operator.pool.rates import Measured
from edge_operator.pool.remedies import explained
from edge_operator.pool.results import Prepared, Ready
from edge_operator.pool.server_links import Link
from edge_operator.pool.shapes import PlannedShape
from edge_operator.pool.surroundings import Surroundings, of_service, unfit
from edge_operator.pool_nodes import missing_certificates
from edge_operator.store_answers import ModelCard
from edge_planning.errors import PlanningError
from edge_planning.pools import Observed

NEVER = float("inf")
PATIENCE = 2.0
"""Seconds that a plan waits for facts before its status reports it."""
UNSTEADY = 20.0
"""Seconds after which servers are chosen again while one of several is away, or has just returned."""


def prepare(
    draft: Draft, before: Prepared | None, pooled: PooledService | None, measured: Mapping[str, Measured]
) -> None:
    """Runs the first steps, and notes in the draft what they found. before, pooled, measured: until now."""
    draft.pooled, draft.measured = pooled, measured
    try:
        _finalizer(draft)
        draft.prepared = _prepared(draft, before)
    except NotKnownError as error:
        reported = draft.waiting >= PATIENCE
        doing = error.need.doing + (fetches.progress(draft, error.need) if reported else "")
        draft.lacks(error.need.step, doing, PATIENCE)
    except ObjectRefusedError as error:
        draft.blocked = Blocked(draft.step, reasons.OBJECT_REFUSED, str(error))
    except PlanningError as error:
        reason, message = explained(error, draft.key.name, draft.service.spec.device_pool)
        draft.blocked = Blocked(reasons.PLANNED, reason, message)
    else:
        ready = draft.prepared.result
        if isinstance(ready, Ready):
            draft.recorded = ready.recorded
            _measure(draft)
            changed = before is None or draft.prepared is not before
            draft.pooled = _pooled(draft, ready, pooled, changed=changed)


def _finalizer(draft: Draft) -> None:
    finalizers = draft.body["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        draft.write(SetFinalizers(draft.body, (*finalizers, FINALIZER)))


def _prepared(draft: Draft, before: Prepared | None) -> Prepared:
    inputs, facts = _inputs(draft), draft.state.facts
    if (
        before is not None
        and draft.now.monotonic < before.until
        and before.inputs == inputs
        and all(facts.get(need) is fact for need, fact in before.facts.items())
    ):
        draft.lookups.used |= before.facts.keys()
        draft.members, draft.pool, draft.resolved = before.members, before.pool, before.resolved
        draft.unmeasured, draft.findings = before.unmeasured, list(before.findings)
        draft.first_requests = before.first_requests
        draft.writes += before.writes
        return before
    earlier = len(draft.writes)
    result = _steps(draft)
    again = result.again if isinstance(result, Blocked) else NEVER
    if draft.unmeasured is not None:
        again = min(again, draft.unmeasured.again)
    return Prepared(
        inputs=inputs,
        facts={need: facts.get(need) for need in draft.lookups.used},
        until=draft.now.monotonic + again,
        result=result,
        members=draft.members,
        pool=draft.pool,
        resolved=draft.resolved,
        unmeasured=draft.unmeasured,
        first_requests=draft.first_requests,
        findings=tuple(draft.findings),
        writes=tuple(draft.writes[earlier:]),
    )


def _inputs(draft: Draft) -> tuple[object, ...]:
    """Returns what the first steps read, but for facts and the time."""
    own, state = draft.own, draft.state
    metadata = own.body["metadata"]
    return (
        (metadata.get("uid"), metadata.get("generation")),
        _resolved(draft),
        draft.service.spec.model,
        draft.lost,
        draft.shared.surroundings,
        own.profile,
        own.fetches,
        own.fetch_pods,
        own.refusals,
        state.jobs,
        state.job_pods,
        shapes.summary(shapes.counted(draft.known.values()), draft.service.spec.slo.percentile),
        first_requests.reports(draft.known),
    )


def _resolved(draft: Draft) -> tuple[object, ...] | None:
    """Returns what the address was resolved to, without the phase of the roll-out."""
    found = draft.service.status.model if draft.service.status is not None else None
    return None if found is None else (found.storage_uri, found.digest, found.inputs)


def _steps(draft: Draft) -> Ready | Blocked:
    models.end_fetches(draft)
    card = models.model(draft)
    if isinstance(card, Blocked):
        return card
    surroundings = _surroundings(draft)
    if isinstance(surroundings, Blocked):
        return surroundings
    found = models.accuracies(draft, card)
    if isinstance(found, Blocked):
        return found
    profiled = profiles.profiles(draft, card, surroundings, found)
    if isinstance(profiled, Blocked):
        return profiled
    card, costs = profiled
    planned = _planned_shape(draft, card)
    if planned is None:
        return Ready(card, costs, found, surroundings.pool, draft.recorded)
    at = {name: shapes.profile_at(each, planned.shape) for name, each in costs.items()}
    card_at = shapes.card_at(card, planned.shape)
    return Ready(card_at, at, found, surroundings.pool, draft.recorded, planned, costs)


def _planned_shape(draft: Draft, card: ModelCard) -> PlannedShape | None:
    """Returns the shape that the service is planned for; None if only the batch is open."""
    percentile = draft.service.spec.slo.percentile
    return shapes.planned_shape(card, shapes.counted(draft.known.values()), percentile)


def _surroundings(draft: Draft) -> Surroundings | Blocked:
    shared = draft.shared.surroundings
    if isinstance(shared, Blocked):
        return shared
    found = of_service(shared, draft.service.spec)
    draft.pool, draft.members = found.members, found.entries
    untrusted = missing_certificates(found.pool.spec, draft.settings)
    if untrusted:
        message = f"DevicePool {draft.service.spec.device_pool}: {untrusted}"
        return Blocked(reasons.PLANNED, reasons.NO_CERTIFICATES, message)
    return unfit(found, draft.service.spec) or found


def _measure(draft: Draft) -> None:
    """Notes the requests that have arrived since the last look."""
    at, known = draft.now.wall.timestamp(), draft.known
    entries = {member.node.name for member in draft.members}
    draft.measured = {
        node: rates.measured(draft.measured.get(node), known[node], at)
        for node in sorted(entries & known.keys())
    }


def _observed(draft: Draft, before: PooledService | None) -> dict[str, Observed]:
    """Returns the requests to plan with, by entry node; none for a service that declares its rate."""
    if draft.service.spec.planned_rate:
        return {}
    at = draft.now.wall.timestamp()
    found = {}
    for node, measured in draft.measured.items():
        planned = rates.published(draft.known[node])
        last = planned if before is None else before.observed.get(node)
        found[node] = rates.observed(measured, last, at, planned)
    return {node: each for node, each in found.items() if each is not None}


def _pooled(draft: Draft, ready: Ready, before: PooledService | None, *, changed: bool) -> PooledService:
    """Returns the service as it is planned; the one before, as long as that makes no difference.

    changed: whether what the first steps found differs.
    """
    placements = draft.known
    servers = ready.pool.spec.triton_servers
    full = frozenset(each.name for each in servers if each.url in draft.full)
    observed = _observed(draft, before)
    if (
        before is not None
        and not changed
        and before.observed == observed
        and before.isolation == draft.isolation
        and before.full == full
        and {n: _planned_from(p) for n, p in before.placements.items()}
        == {n: _planned_from(p) for n, p in placements.items()}
        and unsteady(draft) == NEVER
    ):
        return before
    between = {
        LinkKey(node, peer): Link(link.rtt, link.bandwidth)
        for node, placement in placements.items()
        for peer, link in node_links.planned_links(ready.pool.spec.links, placement).items()
    }
    return PooledService(
        draft.key,
        draft.service.spec,
        ready.card,
        ready.costs,
        draft.members,
        placements=placements,
        isolation=draft.isolation,
        accuracies=ready.accuracies,
        links={
            **published_links(ready.pool.spec.triton_servers, placements, draft.shared.at(placements)),
            **between,
        },
        measured=draft.measured,
        observed=observed,
        full=full,
    )


def _planned_from(placement: Placement) -> tuple[object, ...]:
    """Returns what a plan reads of a Placement: not the counters, and links to two digits."""
    metadata, status = placement.metadata, placement.status
    notes = {key: text for key, text in metadata.annotations.items() if key != LINKS_ANNOTATION}
    if status is None:
        return metadata.uid, metadata.generation, notes
    links = [_measured(each) for each in (status.link, *(status.local_links or ())) if each is not None]
    return metadata.uid, metadata.generation, notes, status.observed_generation, links, status.residuals


def _measured(link: LinkStatus | LocalLinkStatus) -> tuple[object, ...]:
    bandwidth = None if link.bandwidth is None else f"{link.bandwidth:.1e}"
    round_trip = None if link.round_trip is None else f"{link.round_trip:.1e}"
    peer = link.peer if isinstance(link, LocalLinkStatus) else ""
    return peer, link.state, bandwidth, round_trip


def unsteady(draft: Draft) -> float:
    """Returns the seconds after which the servers are chosen again although nothing has changed."""
    availability, now = draft.state.availability, draft.now.monotonic
    shared = draft.shared.surroundings
    servers = shared.pool.spec.triton_servers if isinstance(shared, Surroundings) else ()
    settled = all(availability.steady(each.url, now) for each in servers)
    return UNSTEADY if len(servers) > 1 and not settled else NEVER
