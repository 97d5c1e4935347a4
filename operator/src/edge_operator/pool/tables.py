"""The third step of a service's plan: a route table for every entry node, as Placements to publish. Pure."""

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge_api import DevicePool, Placement, reasons
from edge_api.devicepools import DevicePoolSpec, TritonServer
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.placements import UNENCODED
from edge_api.tensors import Slice
from edge_operator import lost_slices, manifests, margins, node_links, recorded, rendering
from edge_operator.codecs import refusals, usable_codecs
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import StoreError
from edge_operator.keys import SliceKey
from edge_operator.peers import peers
from edge_operator.pool.drafts import Draft
from edge_operator.pool.entry_servers import EntryServers
from edge_operator.pool.facts import SliceOf
from edge_operator.pools import PoolMember, entries, intermediate_nodes
from edge_operator.remedies import explained
from edge_operator.report_intervals import report_interval
from edge_operator.server_choice import value_of
from edge_operator.server_links import Link, peer_of, published_link
from edge_operator.store import CodecAccuracies, DeviceProfile, ExitConfidence, ModelCard
from edge_planning import Codec, EntryProblem, Infeasible, Model, Plan, PlanningError, plan_entry
from edge_planning.choosing.sentences import seconds_text, sufficient_seconds
from edge_planning.objectives import ACCURACY


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan for one entry node, the problem that it solves, and the Triton server that it uses."""

    member: PoolMember
    problem: EntryProblem
    plan: Plan | Infeasible
    server: TritonServer | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the Placement."""


def route_tables(
    draft: Draft,
    card: ModelCard,
    pool: DevicePool,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None = None,
) -> list[Placement] | Blocked:
    """Plans every entry node, and requests the slices of the route tables. accuracies: of codecs.

    Intermediate nodes that are not entry nodes get a route table too.
    """
    servers = EntryServers(draft, pool.spec) if len(pool.spec.triton_servers) > 1 else None
    rates = arrival_rates(draft.service.spec, draft.pool)
    plan = functools.partial(
        _plan, draft, card, pool, costs, accuracies=accuracies, servers=servers, rates=rates
    )
    try:
        planned = [plan(member) for member in draft.members]
    except PlanningError as error:
        return Blocked(reasons.PLANNED, *explained(error, draft.key.name, pool.metadata.name))
    refused = [each for each in planned if isinstance(each.plan, Infeasible)]
    if len(refused) == len(planned):
        return Blocked(reasons.PLANNED, reasons.INFEASIBLE, _limits(draft, refused))
    draft.infeasible = {each.member.node.name: "; ".join(each.plan.reasons) for each in refused}
    late = [each for each in planned if isinstance(each.plan, Plan) and not each.plan.met]
    if refused:
        names = ", ".join(draft.infeasible)
        message = f"no route at {names}: {_limits(draft, refused)}; the other entry nodes have their routes"
        draft.found(Finding(reasons.PLANNED, "False", reasons.INFEASIBLE, message))
    elif late:
        message = f"{_limits(draft, late)}: the fastest routes are used"
        draft.found(Finding(reasons.PLANNED, "True", reasons.SLO_OUT_OF_REACH, message))
    else:
        message = _reasons(planned) or "the SLO is met at any bandwidth"
        reason = reasons.PLANNED_AS_ASKED
        if accuracies is not None and not accuracies.complete:
            reason = reasons.MEASURING_CODECS
            message += f"; the accuracy with codecs is being measured, hops use {UNENCODED} until then"
        if unfit := refusals(accuracies):
            message += f"; {unfit}"
        draft.found(Finding(reasons.PLANNED, "True", reason, message))
    tables = {each.member.node.name: each.plan.table for each in planned if isinstance(each.plan, Plan)}
    used = {route.intermediate for table in tables.values() for route in table.routes} - set(tables)
    for member in (each for each in draft.pool if each.node.name in used):
        # They receive requests from entry nodes alone, so their own routes can be less accurate.
        intermediate = plan(member, any_exit=True)
        if isinstance(intermediate.plan, Plan):
            planned.append(intermediate)
            tables[member.node.name] = intermediate.plan.table
    if servers is not None:
        sending = {name for name, table in tables.items() if any(r.tail is not None for r in table.routes)}
        draft.replaceable, draft.servers = servers.replaceable, servers.lost(sending)
        draft.placed = servers.placed
    slices: dict[SliceKey, Slice] = {}
    if draft.recorded:
        published = recorded.published_slices(card, tables.values(), draft.known.values())
        slices |= lost_slices.without(published, lost_slices.unloaded_slices(draft.known.values()))
    missing = sorted(rendering.needed_slices(card, tables.values()) - set(slices))
    needs = [SliceOf(draft.key.namespace, key) for key in missing]
    try:
        made = draft.lookups.get_all(needs)
    except StoreError as error:
        return Blocked(reasons.PLACED, error.reason, str(error), transient=error.transient, again=10.0)
    slices |= {need.key: made[need] for need in needs}
    addresses = peers(draft.settings, draft.known)

    def reached(sender: str) -> dict[str, str]:
        return node_links.probed_addresses(draft.placements, draft.key, draft.isolation, addresses, sender)

    return [
        rendering.placement(
            draft.body,
            draft.service.spec,
            each.member,
            pool.spec,
            card=card,
            table=tables[each.member.node.name],
            slices=slices,
            server=each.server,
            rtt=each.problem.rtt,
            local_links=node_links.local_links(
                pool.spec.links, each.problem.intermediates, reached(each.member.node.name)
            ),
            isolation=draft.isolation,
            peers=addresses,
            installation=draft.settings.installation,
            margins=each.problem.entry.margins,
            notes=each.notes,
            report_interval=interval(draft, len(tables)),
        )
        for each in planned
        if each.member.node.name in tables
    ]


def _plan(
    draft: Draft,
    card: ModelCard,
    pool: DevicePool,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    *,
    accuracies: CodecAccuracies | None,
    servers: EntryServers | None,
    rates: Mapping[str, float],
    any_exit: bool = False,
) -> Planned:
    """Plans with the server to use. servers: to choose from; None if the pool has one at most."""

    def plan(server: TritonServer | None, link: Link) -> Planned:
        problem = problem_at(
            draft.service.spec,
            manifests.planned_model(draft.key.name, card),
            pool.spec,
            draft.pool,
            costs=costs,
            member=member,
            placements=draft.known,
            server=server,
            link=link,
            rates=rates,
            codecs=usable_codecs(accuracies),
            confidences=accuracies.confidences if accuracies is not None else (),
        )
        if any_exit:
            problem = replace(problem, min_accuracy=None, objective=ACCURACY)
        return Planned(member, problem, plan_entry(problem), server)

    usable = usable_servers(pool.spec, costs)
    if servers is None:
        published = draft.known.get(member.node.name)
        return plan(usable[0] if usable else None, published_link(published))
    solved: dict[tuple[str, Link], Planned] = {}

    def value(server: TritonServer, link: Link, bandwidth: float | None) -> float:
        key = (server.device_class, link)  # equal servers behind equal links: one plan
        if key not in solved:
            solved[key] = plan(server, link)
        return value_of(solved[key].plan, bandwidth, draft.service.spec.slo.latency)

    chosen = servers.choose(member.node.name, usable, value)
    found = solved[chosen.server.device_class, chosen.link]
    if found.server != chosen.server:
        found = plan(chosen.server, chosen.link)
    return replace(found, notes=chosen.notes)


def usable_servers(pool: DevicePoolSpec, costs: Mapping[str, DeviceProfile]) -> Sequence[TritonServer]:
    """Returns the servers of profiled classes; all, if none is profiled yet."""
    profiled = [server for server in pool.triton_servers if server.device_class in costs]
    return profiled or pool.triton_servers


def published_server(
    pool: DevicePoolSpec, costs: Mapping[str, DeviceProfile], published: Placement | None
) -> TritonServer | None:
    """Returns the server that a Placement names, or the first usable one."""
    named = [server for server in pool.triton_servers if server.name == peer_of(published)]
    return next(iter([*named, *usable_servers(pool, costs)]), None)


def problem_at(
    service: InferenceServiceSpec,
    model: Model,
    pool: DevicePoolSpec,
    members: tuple[PoolMember, ...],
    *,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    placements: Mapping[str, Placement],
    server: TritonServer | None,
    link: Link,
    rates: Mapping[str, float],
    codecs: tuple[Codec, ...],
    confidences: Sequence[ExitConfidence] = (),
) -> EntryProblem:
    """Returns the planning problem of a service at one entry node. Pure.

    members: all nodes of the pool. placements: those of the service, by node. server: the one to use; without
    a profile of its class, no route leads to it. link: to the server. rates: see `arrival_rates`.
    Raises PlanningError.
    """
    published = placements.get(member.node.name)
    server = server if server is not None and server.device_class in costs else None
    served = entries(service, members)
    near = [m for m in intermediate_nodes(member, members) if server is None or m.node.name != server.name]
    problem = manifests.entry_problem(
        service,
        model,
        costs,
        member,
        remote=server.device_class if server else None,
        peer=server.name if server else "the cloud",
        rtt=link.rtt,
        bandwidth=link.bandwidth,
        codecs=codecs,
        intermediates=manifests.planned_intermediates(
            pool.links.local, costs, near, rates, node_links.planned_links(pool.links, published)
        ),
        entries=len(served),
        confidences=confidences,
        prices=pool.prices,
    )
    found = margins.planned_margins(problem, published, margins.ratios(placements, members, costs, member))
    return replace(problem, entry=replace(problem.entry, margins=found))


def arrival_rates(service: InferenceServiceSpec, members: tuple[PoolMember, ...]) -> dict[str, float]:
    """Returns the requests per second that can arrive at each node, from clients and from other nodes.

    The same for all entry nodes, at a cost of entry nodes times members.
    """
    rate, served = service.planned_rate, entries(service, members)
    if not rate:
        return {}
    arriving = [entry.node.name for entry in served]
    arriving += [near.node.name for entry in served for near in intermediate_nodes(entry, members)]
    return {name: rate * count for name, count in Counter(arriving).items()}


def interval(draft: Draft, tables: int) -> float:
    """Returns the seconds between two reports of a Placement of the pool. tables: of the service."""
    before = max((float(p.spec.report_interval) for p in draft.placements.values()), default=None)
    return report_interval(max(len(draft.state.placements), tables), before)


def _limits(draft: Draft, missed: Sequence[Planned]) -> str:
    """Returns what keeps entry nodes from meeting the SLO, and the latency that all of them can meet."""
    nearest = [each.plan.nearest_slo for each in missed]
    feasible = [seconds for seconds in nearest if seconds is not None and math.isfinite(seconds)]
    if len(feasible) < len(nearest):
        return _reasons(missed)
    return (
        f'spec.slo.latency: "{draft.service.spec.slo.latency}": {_reasons(missed)}; '
        f"the nearest feasible latency is {seconds_text(sufficient_seconds(max(feasible)))}"
    )


def _reasons(planned: Sequence[Planned]) -> str:
    """Returns the reasons once for each device class: those of its first node, and the other nodes."""
    classes: dict[str, list[Planned]] = {}
    for each in planned:
        if each.plan.reasons:
            classes.setdefault(each.member.device_class, []).append(each)
    sentences = []
    for first, *others in classes.values():
        likewise = f" (also at {', '.join(each.member.node.name for each in others)})" if others else ""
        sentences.append("; ".join(first.plan.reasons) + likewise)
    return "; ".join(dict.fromkeys(sentences))
