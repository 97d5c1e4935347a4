"""Computes the status of services and pools: conditions, entries, the fields of printer columns. Pure."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_api import Placement, Share, reasons
from edge_api.devicepools import DevicePool, DevicePoolStatus, PoolNode
from edge_api.inferenceservices import (
    EntryStatus,
    InferenceService,
    InferenceServiceStatus,
    ModelStatus,
    SloStatus,
)
from edge_api.quantities import Attainment
from edge_api.reasons import ConditionType
from edge_operator.conditions import Blocked, Finding, conditions
from edge_operator.pools import (
    Node,
    PoolMember,
    group_members,
    measured_itself,
    selector_field,
    selector_text,
    server_nodes,
    taken_names,
)
from edge_planning.choosing.sentences import bandwidth_text

ORDER: tuple[ConditionType, ...] = tuple(reasons.CONDITIONS)
_ALL_SELECT = "every selector selects a node"
_LABEL_NODES = "label a node, or change the selector"
_SILENT_AFTER = datetime.timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Observation:
    """The results of a reconcile of a service.

    placements: published, by node. steps: what the steps found. blocked: the step that failed. model: what
    the model's address was resolved to; None: not known in this reconcile.
    """

    members: tuple[PoolMember, ...]
    placements: Mapping[str, Placement]
    steps: tuple[Finding, ...]
    blocked: Blocked | None
    url: str
    pods: Mapping[str, str]
    """Why a node's pod does not run, by node."""
    model: ModelStatus | None = None


def service_status(
    service: InferenceService, seen: Observation, now: datetime.datetime
) -> InferenceServiceStatus:
    """Returns the status of the service after a reconcile."""
    nodes = [member.node for member in seen.members] or [
        Node(name, {}, ready=True) for name in sorted(seen.placements)
    ]
    problems = {node.name: _problem(node, seen, now) for node in nodes}
    # The last report of a node that stopped reporting is out of date.
    fresh = {node: p for node, p in seen.placements.items() if not _silent(p, now)}
    reports = [p.status for p in fresh.values() if p.status is not None]
    requests = sum(report.requests for report in reports)
    slo = None
    if requests:
        met = sum((report.attainment or 0.0) * report.requests for report in reports)
        worst = max(
            (report.latency.p95 for report in reports if report.latency and report.requests), default=None
        )
        attainment = Attainment(round(met / requests, 4))
        summary = f"{attainment}/{service.spec.slo.objective:g}"
        slo = SloStatus(attainment=attainment, p95=worst, summary=summary)
    previous = service.status or InferenceServiceStatus()
    found = [_ready(service, seen, problems), *seen.steps, _slo_met(service, slo, requests, fresh)]
    if seen.blocked is not None:
        found.append(seen.blocked.finding())
    generation = service.metadata.generation or 0
    entries = tuple(_entry(node, fresh.get(node.name), problems[node.name]) for node in nodes)
    return InferenceServiceStatus(
        observed_generation=generation,
        conditions=conditions(previous.conditions, found, ORDER, generation, now),
        ready_entries=f"{sum(not problem for problem in problems.values())}/{len(nodes)}" if nodes else None,
        url=seen.url if seen.placements else None,
        model=seen.model or previous.model,
        exit=_joined([entry.exit for entry in entries]),
        cut=_joined([entry.cut for entry in entries]),
        slo=slo,
        entries=entries,
    )


def pool_status(
    pool: DevicePool,
    nodes: Sequence[Node],
    now: datetime.datetime,
    untrusted: str = "",
    earlier: Sequence[str] = (),
    control: Finding | None = None,
) -> DevicePoolStatus:
    """Returns the nodes of a pool, and whether each of its groups and Triton servers selects one.

    control: whether its Triton servers accept model control without a key; None: it has none.

    untrusted: why TLS to a Triton server is not possible; empty if it is. earlier: the values in the spelling
    of an earlier version.
    """
    members = group_members(pool.spec, nodes)
    found = [PoolNode(name=m.node.name, device_class=m.device_class) for m in members]
    taken = taken_names(pool.spec.triton_servers, members)
    empty = [
        f'spec.nodes[{index}].{selector_field(group)}: "{selector_text(group)}" selects no node'
        for index, group in enumerate(pool.spec.nodes)
        if not any(node.device_class == group.device_class for node in found)
    ] + [
        f'spec.tritonServers[{index}].{selector_field(server)}: "{selector_text(server)}" selects no node'
        for index, server in enumerate(pool.spec.triton_servers)
        if not measured_itself(server) and not server_nodes(server, nodes)
    ]
    ready = (
        Finding(
            reasons.READY,
            "False",
            reasons.NO_NODES,
            f"{'; '.join(empty)}: {_LABEL_NODES}",
        )
        if empty
        else Finding(reasons.READY, "False", reasons.NO_CERTIFICATES, untrusted)
        if untrusted
        else Finding(reasons.READY, "False", reasons.NAME_TAKEN, taken)
        if taken
        else Finding(reasons.READY, "True", reasons.NODES_FOUND, "; ".join([_ALL_SELECT, *earlier]))
    )
    previous = pool.status or DevicePoolStatus()
    generation = pool.metadata.generation or 0
    findings = [ready] if control is None else [ready, control]
    order: tuple[ConditionType, ...] = tuple(each.type for each in findings)
    return DevicePoolStatus(
        observed_generation=generation,
        conditions=conditions(previous.conditions, findings, order, generation, now),
        node_count=len(found),
        nodes=tuple(found),
    )


def _ready(service: InferenceService, seen: Observation, problems: Mapping[str, str]) -> Finding:
    serving = any(p.status is not None and p.status.loaded for p in seen.placements.values())
    wrong = {node: problem for node, problem in problems.items() if problem}
    if seen.blocked is not None and not (seen.blocked.transient and serving and _was_ready(service)):
        meanwhile = "; the previous routes keep serving" if serving else ""
        step = seen.blocked.finding()
        return Finding(reasons.READY, step.status, step.reason, step.message + meanwhile)
    starting = [node for node in wrong if _starting(node, seen)]
    if wrong and len(starting) == len(wrong):
        return Finding(
            reasons.READY, "Unknown", reasons.STARTING, f"the runtimes are starting at {', '.join(starting)}"
        )
    if wrong:
        sentences = "; ".join(f"{node}: {problem}" for node, problem in wrong.items())
        return Finding(reasons.READY, "False", _common_reason(wrong, seen), sentences)
    switching = [node for node in problems if _switching(seen.placements.get(node))]
    if switching:
        said = f"{', '.join(switching)}: loading the new routes; the previous ones keep serving until then"
        return Finding(reasons.READY, "Unknown", reasons.SWITCHING, said)
    if seen.blocked is not None:
        return Finding(
            reasons.READY,
            "True",
            reasons.SERVING,
            f"the previous routes keep serving: {seen.blocked.message}",
        )
    return Finding(reasons.READY, "True", reasons.SERVING, f"requests are served at {', '.join(problems)}")


def _common_reason(nodes: Iterable[str], seen: Observation) -> str:
    """Returns the reason that all of these nodes report, if they agree."""
    reports = [seen.placements[node].status if node in seen.placements else None for node in nodes]
    given = {r.reason if r is not None and not r.loaded else None for r in reports}
    return reasons.known(given.pop() if len(given) == 1 else None, reasons.ENTRIES_NOT_READY)


def _was_ready(service: InferenceService) -> bool:
    """Whether this generation was Ready before."""
    conditions = service.status.conditions if service.status is not None else ()
    ready = next((condition for condition in conditions if condition.type == reasons.READY), None)
    return (
        ready is not None
        and ready.status == "True"
        and ready.observed_generation == service.metadata.generation
    )


def _slo_met(
    service: InferenceService, slo: SloStatus | None, requests: int, placements: Mapping[str, Placement]
) -> Finding:
    target = service.spec.slo
    if slo is None or slo.attainment is None:
        return Finding(reasons.SLO_MET, "Unknown", reasons.NO_REQUESTS, "no requests in the last minute")
    share = f"{float(slo.attainment):.1%}"
    said = f"{share} of the {requests} requests in the last minute met {target.latency}"
    if slo.attainment >= target.objective:
        return Finding(reasons.SLO_MET, "True", reasons.OBJECTIVE_MET, said)
    worst, attainment = min(
        (
            (node, placement.status.attainment)
            for node, placement in placements.items()
            if placement.status is not None
            and placement.status.requests
            and placement.status.attainment is not None
        ),
        key=lambda pair: pair[1],
        default=("", Share(0)),
    )
    return Finding(
        reasons.SLO_MET,
        "False",
        reasons.OBJECTIVE_MISSED,
        f"{said}; spec.slo.objective requires {target.objective:.1%}: "
        f"the worst entry node is {worst} with {float(attainment):.1%}",
    )


def _problem(node: Node, seen: Observation, now: datetime.datetime) -> str:
    """Returns why an entry node does not serve requests; empty if it does."""
    placement = seen.placements.get(node.name)
    if not node.ready:
        kept = "; if the machine is up, its runtime keeps serving" if placement is not None else ""
        return f"the node is not Ready: {node.not_ready_because.rstrip('.')}{kept}"
    if placement is None:
        return "no routes are published yet"
    report = placement.status
    pod = seen.pods.get(node.name)
    if report is None:
        return pod or "the runtime has not reported yet"
    if not report.loaded:
        meanwhile = "; the previous routes keep serving" if report.message and report.active_route else ""
        return report.message + meanwhile or pod or "the runtime is loading the routes"
    if _silent(placement, now) and report.last_updated is not None:
        return pod or f"the runtime has not reported since {report.last_updated:%H:%M:%S} UTC"
    return ""


def _silent(placement: Placement, now: datetime.datetime) -> bool:
    report = placement.status
    if report is None or report.last_updated is None:
        return False
    return now - report.last_updated > _SILENT_AFTER


def _starting(node: str, seen: Observation) -> bool:
    """Whether only the first report is missing: the node is Ready and its pod has no problem."""
    placement = seen.placements.get(node)
    ready = any(member.node.name == node and member.node.ready for member in seen.members)
    return ready and placement is not None and placement.status is None and node not in seen.pods


def _switching(placement: Placement | None) -> bool:
    if placement is None or placement.status is None:
        return False
    return placement.status.observed_generation < (placement.metadata.generation or 0)


def _entry(node: Node, placement: Placement | None, problem: str) -> EntryStatus:
    report = placement.status if placement is not None else None
    if placement is None or report is None:
        return EntryStatus(node=node.name, reason=problem)
    route = next((r for r in placement.spec.routes if r.name == report.active_route), None)
    return EntryStatus(
        node=node.name,
        exit=report.exit,
        cut=report.cut,
        predicted_latency=route.predicted_latency if route is not None else None,
        measured_latency=report.latency.p95 if report.latency is not None and report.requests else None,
        bandwidth=report.link.bandwidth if report.link is not None else None,
        attainment=None if report.attainment is None else Attainment(report.attainment),
        reason=problem or _why(placement),
    )


def _why(placement: Placement) -> str:
    """Returns why the active route is used, from the table and the link."""
    report = placement.status
    assert report is not None
    routes = placement.spec.routes
    index = next((i for i, r in enumerate(routes) if r.name == report.active_route), None)
    if index is None:
        return "no route is active yet"
    if len(routes) == 1:
        return f"the only route in mode {placement.spec.mode}"
    if report.link is not None and report.link.state == "Down":
        return f"{placement.spec.link.peer if placement.spec.link else 'the cloud'} does not respond"
    own = f"used from {bandwidth_text(routes[index].min_bandwidth)}" if routes[index].min_bandwidth else ""
    better = (
        f"{routes[index - 1].name} needs {bandwidth_text(routes[index - 1].min_bandwidth)}" if index else ""
    )
    return "; ".join(part for part in (own, better) if part)


def _joined(values: Sequence[str | None]) -> str | None:
    return ",".join(dict.fromkeys(value for value in values if value)) or None
