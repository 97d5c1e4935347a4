"""The third step of a service's plan: its route tables as Placements to publish. Pure.

What each entry node gets is planned with all services of the pool, in `demands`.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from edge_api import Placement, reasons
from edge_api.tensors import Slice
from edge_operator.conditions import Blocked, Finding
from edge_operator.keys import SliceKey
from edge_operator.nodes.peers import peers
from edge_operator.pool import lost_slices, node_links, recorded, rendering, shape_costs, withheld
from edge_operator.pool.drafts import Draft
from edge_operator.pool.facts import SliceOf
from edge_operator.pool.findings import planned_finding, without_routes
from edge_operator.pool.pooled import PlannedEntry
from edge_operator.pool.published import kept
from edge_operator.pool.report_intervals import report_interval
from edge_operator.pool.results import Ready, Rendered
from edge_operator.pool.server_choice import lost_servers
from edge_planning import Plan
from edge_planning.plans import RouteTable

_UNPLANNED = (reasons.SHAPES_UNKNOWN, reasons.INPUTS_REFUSED, reasons.MEASURING_ON_REQUESTS)
"""Reasons for which a service is served without a plan."""


def rendered(
    draft: Draft, ready: Ready, entries: Sequence[PlannedEntry], before: Rendered | None
) -> Rendered:
    """Returns the Placements, and notes the condition; those before, if nothing that they are of changed.

    entries: what the service gets. Raises NotKnownError before the model store has made their slices.
    """
    inputs, facts = _inputs(draft, ready, entries), draft.state.facts
    if (
        before is not None
        and before.inputs == inputs
        and all(facts.get(need) is fact for need, fact in before.facts.items())
    ):
        draft.lookups.used |= before.facts.keys()
        found = before
    else:
        found = _rendered(draft, ready, entries, inputs)
    draft.infeasible, draft.withheld = dict(found.infeasible), dict(found.withheld)
    draft.replaceable, draft.servers = found.replaceable, found.servers
    if found.finding is not None:
        draft.found(found.finding)
    return found


def _inputs(draft: Draft, ready: Ready, entries: Sequence[PlannedEntry]) -> tuple[object, ...]:
    metadata = draft.body["metadata"]
    published = tuple((p.metadata.uid, p.metadata.generation) for p in draft.known.values())
    return (
        (metadata.get("uid"), metadata.get("generation")),
        draft.isolation,
        draft.first_requests,
        interval(draft, len(entries)),
        published,
        ready,
        tuple(entries),
        peers(draft.settings, draft.known),
        lost_slices.unloaded_slices(draft.known.values()),
        _away(draft, ready),
        draft.full,
    )


def _rendered(
    draft: Draft, ready: Ready, entries: Sequence[PlannedEntry], inputs: tuple[object, ...]
) -> Rendered:
    finding = _finding(draft, ready, entries)
    replaceable, servers = _servers(draft, ready, entries)
    planned = {each.member.node.name: each.plan.table for each in entries if isinstance(each.plan, Plan)}
    needs = dict[SliceOf, None]()
    result: tuple[Placement, ...] | Blocked
    held = dict[str, Blocked]()
    if isinstance(finding, Blocked):
        result = finding
    else:
        slices: dict[SliceKey, Slice] = {}
        if ready.recorded:
            published = recorded.published_slices(ready.card, planned.values(), draft.known.values())
            slices |= lost_slices.without(published, lost_slices.unloaded_slices(draft.known.values()))
        missing = sorted(rendering.needed_slices(ready.card, planned.values()) - set(slices))
        needs = dict.fromkeys(SliceOf(draft.key.namespace, key) for key in missing)
        made, errors = draft.lookups.tried(needs)
        slices |= {need.key: made[need] for need in needs if need in made}
        failed = {need.key: errors[need] for need in needs if need in errors}
        held = withheld.by_slices(ready.card, planned, failed)
        local = {node: withheld.local_only(ready.card, planned[node], failed) for node in held}
        result = _placements(draft, ready, entries, {**planned, **local}, slices, held)
    return Rendered(
        inputs=inputs,
        facts={need: draft.state.facts.get(need) for need in needs},
        result=result,
        finding=None if isinstance(finding, Blocked) else finding,
        infeasible=without_routes(entries),
        withheld=held,
        replaceable=replaceable,
        servers=servers,
    )


def _finding(draft: Draft, ready: Ready, entries: Sequence[PlannedEntry]) -> Finding | Blocked:
    """Returns the condition. That of tables which an operator found at its start stays as it was.

    One that kept the service from new tables has ended.
    """
    found = planned_finding(draft.service.spec, entries, ready.accuracies, ready.costs)
    found_so_far = (each for each in draft.findings if each.reason in _UNPLANNED)
    unplanned = next((each for each in found_so_far if each.message == ready.card.local), None)
    if unplanned is not None and isinstance(found, Finding):
        return Finding(reasons.PLANNED, "Unknown", unplanned.reason, unplanned.message)
    if ready.shape is not None and isinstance(found, Finding):
        found = dataclasses.replace(found, message=f"{found.message}; {ready.shape}")
    status = draft.service.status
    if entries and all(each.adopted or each.intermediate for each in entries) and status is not None:
        before = next((c for c in status.conditions if c.type == reasons.PLANNED), None)
        known = before is not None and before.observed_generation == draft.body["metadata"].get("generation")
        if before is not None and known and before.status == "True":
            return Finding(reasons.PLANNED, before.status, before.reason, before.message)
    return found


def _placements(
    draft: Draft,
    ready: Ready,
    entries: Sequence[PlannedEntry],
    tables: Mapping[str, RouteTable | None],
    slices: Mapping[SliceKey, Slice],
    held: Collection[str],
) -> tuple[Placement, ...]:
    """held: nodes that keep their published table; without one, they get the table of `tables` if any."""
    found = []
    for each in entries:
        node = each.member.node.name
        published, table = draft.placements.get(node), tables.get(node)
        if published is not None and node in held:
            found.append(kept(published, {}))
        elif table is not None:
            found.append(_placement(draft, ready, each, table, slices, len(tables)))
        elif published is not None and each.plan is None:
            found.append(kept(published, each.notes))
    return tuple(found)


def _placement(
    draft: Draft,
    ready: Ready,
    entry: PlannedEntry,
    table: RouteTable,
    slices: Mapping[SliceKey, Slice],
    tables: int,
) -> Placement:
    addresses, node = peers(draft.settings, draft.known), entry.member.node.name
    reached = node_links.probed_addresses(draft.placements, draft.key, draft.isolation, addresses, node)
    made = rendering.placement(
        draft.body,
        draft.service.spec,
        entry.member,
        ready.pool.spec,
        card=ready.card,
        table=table,
        slices=slices,
        server=entry.server,
        rtt=entry.problem.rtt,
        local_links=node_links.local_links(ready.pool.spec.links, entry.problem.intermediates, reached),
        isolation=draft.isolation,
        peers=addresses,
        installation=draft.settings.installation,
        margins=entry.problem.entry.margins,
        notes=entry.notes,
        report_interval=interval(draft, tables),
        first_requests=draft.first_requests.get(node),
    )
    return shape_costs.with_shapes(made, table, ready, entry.problem, draft.placements.get(node))


def _servers(draft: Draft, ready: Ready, entries: Sequence[PlannedEntry]) -> tuple[frozenset[str], str]:
    """Returns the chosen servers that others can replace, and which are lost and what is used instead."""
    listed = {server.name: server for server in ready.pool.spec.triton_servers}
    choices = [(each.member.node.name, each.choice) for each in entries if each.choice is not None]
    replaceable = frozenset(listed[choice.name].url for _, choice in choices if choice.replaceable)
    sending = {
        each.member.node.name
        for each in entries
        if isinstance(each.plan, Plan) and any(route.tail is not None for route in each.plan.table.routes)
    }
    lost = lost_servers([(n, c) for n, c in choices if n in sending], _away(draft, ready))
    return replaceable, lost


def _away(draft: Draft, ready: Ready) -> frozenset[str]:
    """Returns the names of the servers that are taken as lost."""
    now, availability = draft.now.monotonic, draft.state.availability
    return frozenset(s.name for s in ready.pool.spec.triton_servers if availability.away(s.url, now))


def interval(draft: Draft, tables: int) -> float:
    """Returns the seconds between two reports of a Placement of the pool. tables: of the service.

    Services without Placements count as if they had as many: while many services are placed one after the
    other, the interval stays, and no Placement is written again for it.
    """
    before = max((float(p.spec.report_interval) for p in draft.placements.values()), default=None)
    placements = len(draft.state.placements) + tables * draft.shared.unplaced
    return report_interval(max(placements, tables), before)
