"""The planning step of a reconcile: a route table for every entry node, as Placements yet to be published."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_api import DevicePool, Placement, reasons
from edge_api.devicepools import DevicePoolSpec
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.placements import UNENCODED
from edge_api.quantities import parse_duration
from edge_operator import manifests, margins, metrics, recorded, rendering
from edge_operator.cluster import PLACEMENTS
from edge_operator.codecs import refusals, usable_codecs
from edge_operator.conditions import Blocked, Finding
from edge_operator.errors import StoreError
from edge_operator.names import POOL_LABEL, RTT_ANNOTATION, label_value
from edge_operator.pools import PoolMember, entries, helpers
from edge_operator.remedies import explained
from edge_operator.report_intervals import report_interval
from edge_operator.runs import Run
from edge_operator.store import CodecAccuracies, DeviceProfile, ExitConfidence, ModelCard
from edge_planning import Codec, EntryProblem, Infeasible, Model, Plan, PlanningError, plan_entry
from edge_planning.choosing.sentences import seconds_text, sufficient_seconds
from edge_planning.objectives import ACCURACY


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan for one entry node, and the problem that it solves."""

    member: PoolMember
    problem: EntryProblem
    plan: Plan | Infeasible


def plan_service(
    run: Run,
    card: ModelCard,
    pool: DevicePool,
    costs: Mapping[str, DeviceProfile],
    accuracies: CodecAccuracies | None = None,
) -> list[Placement] | Blocked:
    """Plans every entry node, and requests the slices of the route tables. accuracies: of codecs.

    Intermediate nodes that are not entry nodes get a route table too.
    """
    started = run.clock.monotonic()
    try:
        planned = [_plan(run, card, pool, costs, member, accuracies=accuracies) for member in run.members]
    except PlanningError as error:
        return Blocked(reasons.PLANNED, *explained(error, run.key.name, pool.metadata.name))
    metrics.PLANNING_SECONDS.observe(run.clock.monotonic() - started)
    refused = [each for each in planned if isinstance(each.plan, Infeasible)]
    if len(refused) == len(planned):
        return Blocked(reasons.PLANNED, reasons.INFEASIBLE, _limits(run, refused))
    run.infeasible = {each.member.node.name: "; ".join(each.plan.reasons) for each in refused}
    late = [each for each in planned if isinstance(each.plan, Plan) and not each.plan.met]
    if refused:
        names = ", ".join(run.infeasible)
        message = f"no route at {names}: {_limits(run, refused)}; the other entry nodes have their routes"
        run.findings.append(Finding(reasons.PLANNED, "False", reasons.INFEASIBLE, message))
    elif late:
        message = f"{_limits(run, late)}: the fastest routes are used"
        run.findings.append(Finding(reasons.PLANNED, "True", reasons.SLO_OUT_OF_REACH, message))
    else:
        message = _reasons(planned) or "the SLO is met at any bandwidth"
        reason = reasons.PLANNED_AS_ASKED
        if accuracies is not None and not accuracies.complete:
            reason = reasons.MEASURING_CODECS
            message += f"; the accuracy with codecs is being measured, hops use {UNENCODED} until then"
        if unfit := refusals(accuracies):
            message += f"; {unfit}"
        run.findings.append(Finding(reasons.PLANNED, "True", reason, message))
    tables = {each.member.node.name: each.plan.table for each in planned if isinstance(each.plan, Plan)}
    used = {route.intermediate for table in tables.values() for route in table.routes} - set(tables)
    run.helpers = tuple(member for member in run.pool if member.node.name in used)
    for member in run.helpers:
        # They receive requests from entry nodes alone, so their own routes can be less accurate.
        helping = _plan(run, card, pool, costs, member, accuracies=accuracies, any_exit=True)
        if isinstance(helping.plan, Plan):
            planned.append(helping)
            tables[member.node.name] = helping.plan.table
    if run.memory.recorded:
        run.memory.slices |= recorded.published_slices(card, tables.values(), run.known.values())
    try:
        for key in sorted(rendering.needed_slices(card, tables.values()) - set(run.memory.slices)):
            run.memory.slices[key] = run.clients.store.slice(*key)
    except StoreError as error:
        return Blocked(
            reasons.PLACED,
            error.reason,
            str(error),
            transient=error.reason == reasons.UNREACHABLE,
            again=10.0,
        )
    interval = _report_interval(run, len(tables))
    return [
        rendering.placement(
            run.body,
            run.service.spec,
            each.member,
            pool.spec,
            card=card,
            table=tables[each.member.node.name],
            slices=run.memory.slices,
            store_url=run.settings.store_url,
            rtt=each.problem.rtt,
            isolation=run.isolation,
            domain=run.settings.cluster_domain,
            scheme=run.settings.runtime_scheme,
            installation=run.settings.installation,
            margins=each.problem.entry.margins,
            report_interval=interval,
        )
        for each in planned
        if each.member.node.name in tables
    ]


def _plan(
    run: Run,
    card: ModelCard,
    pool: DevicePool,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    *,
    accuracies: CodecAccuracies | None,
    any_exit: bool = False,
) -> Planned:
    problem = problem_at(
        run.service.spec,
        manifests.planned_model(run.key.name, card),
        pool.spec,
        run.pool,
        costs=costs,
        member=member,
        placements=run.known,
        codecs=usable_codecs(accuracies),
        confidences=accuracies.confidences if accuracies is not None else (),
    )
    if any_exit:
        problem = replace(problem, min_accuracy=None, objective=ACCURACY)
    return Planned(member, problem, plan_entry(problem))


def problem_at(
    service: InferenceServiceSpec,
    model: Model,
    pool: DevicePoolSpec,
    members: tuple[PoolMember, ...],
    *,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    placements: Mapping[str, Placement],
    codecs: tuple[Codec, ...],
    confidences: Sequence[ExitConfidence] = (),
) -> EntryProblem:
    """Returns the planning problem of a service at one entry node. Pure.

    members: all nodes of the pool. placements: those of the service, by node.
    Raises PlanningError.
    """
    server = next((each for each in pool.triton_servers[:1] if each.device_class in costs), None)
    published = placements.get(member.node.name)
    rtt, bandwidth = _link(published)
    served = entries(service, members)
    near = [m for m in helpers(member, members) if server is None or m.node.name != server.name]
    problem = manifests.entry_problem(
        service,
        model,
        costs,
        member,
        remote=server.device_class if server else None,
        peer=server.name if server else "the cloud",
        rtt=rtt,
        bandwidth=bandwidth,
        codecs=codecs,
        helpers=manifests.planned_helpers(
            pool.links.local, costs, near, _rates(service.planned_rate, served, members)
        ),
        entries=len(served),
        confidences=confidences,
        prices=pool.prices,
    )
    found = margins.planned_margins(problem, published, margins.ratios(placements, members, costs, member))
    return replace(problem, entry=replace(problem.entry, margins=found))


def _rates(rate: float, entry_nodes: Sequence[PoolMember], members: Sequence[PoolMember]) -> dict[str, float]:
    """Returns the requests per second that can arrive at each node, from clients and from other nodes."""
    if not rate:
        return {}
    arriving = [entry.node.name for entry in entry_nodes]
    arriving += [near.node.name for entry in entry_nodes for near in helpers(entry, members)]
    return {name: rate * count for name, count in Counter(arriving).items()}


def _link(current: Placement | None) -> tuple[float, float | None]:
    """Returns the round trip (s) to plan with, and the bandwidth (bit/s) measured now, for messages."""
    if current is None:
        return manifests.planned_rtt(None, None), None
    planned: float | None = current.spec.link.round_trip if current.spec.link is not None else None
    if planned is None:
        planned = _seconds(current.metadata.annotations.get(RTT_ANNOTATION, ""))
    link = current.status.link if current.status is not None else None
    measured = link.round_trip if link is not None and link.state == "Up" else None
    rtt = manifests.planned_rtt(planned, measured)
    return rtt, link.bandwidth if link is not None else None


def _report_interval(run: Run, tables: int) -> float:
    """Returns the seconds between two reports of a Placement of the pool."""
    pool = label_value(run.service.spec.device_pool)
    others = len(run.clients.cluster.find(PLACEMENTS, None, f"{POOL_LABEL}={pool}"))
    before = max((float(p.spec.report_interval) for p in run.placements.values()), default=None)
    return report_interval(max(others, tables), before)


def _seconds(annotation: str) -> float | None:
    """Returns the seconds of an annotation; None if it is not a number."""
    try:
        return parse_duration(annotation)
    except ValueError:
        return None


def _limits(run: Run, missed: Sequence[Planned]) -> str:
    """Returns what keeps entry nodes from meeting the SLO, and the latency that all of them can meet."""
    nearest = [each.plan.nearest_slo for each in missed]
    feasible = [seconds for seconds in nearest if seconds is not None and math.isfinite(seconds)]
    if len(feasible) < len(nearest):
        return _reasons(missed)
    return (
        f'spec.slo.latency: "{run.service.spec.slo.latency}": {_reasons(missed)}; '
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
