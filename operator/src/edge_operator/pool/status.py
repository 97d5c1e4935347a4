"""Computes the status of services and pools: conditions, entries, the fields of printer columns. Pure."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_api import Placement, reasons
from edge_api.devicepools import DevicePool, DevicePoolStatus, PoolNode
from edge_api.inferenceservices import InferenceService, InferenceServiceStatus
from edge_api.objects import Condition
from edge_api.reasons import ConditionType
from edge_api.rollouts import ModelStatus
from edge_operator.conditions import UNDERWAY, Blocked, Finding, Status, condition, conditions
from edge_operator.ownership import Claim, LostNode, ownership_text, shared_out
from edge_operator.pool import entries, rollout_reports
from edge_operator.pool.entries import Entry
from edge_operator.pool.idle import idle_finding
from edge_operator.pool.qoe import qoe_status
from edge_operator.pool.rollout_states import Decision
from edge_operator.pool.slo import NOTHING, Counters
from edge_operator.pool.slo_status import slo_met, slo_status
from edge_operator.pool.states import RevisionState
from edge_operator.pool_nodes import (
    Node,
    PoolMember,
    measured_itself,
    selector_field,
    selector_text,
    server_nodes,
    taken_names,
)

ORDER: tuple[ConditionType, ...] = tuple(reasons.CONDITIONS)
_ALL_SELECT = "every selector selects a node"
_LABEL_NODES = "label a node, or change the selector"
_NODES_NAMED = 5
"""Nodes whose problems a condition lists; the others are counted."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The results of a reconcile of a service.

    placements: published, by node. steps: what the steps found. blocked: the step that failed. model: what
    the model's address was resolved to; None if this reconcile did not get that far.
    """

    members: tuple[PoolMember, ...]
    placements: Mapping[str, Placement]
    steps: tuple[Finding, ...]
    blocked: Blocked | None
    url: str
    pods: Mapping[str, str]
    """Why a node's pod does not run, by node."""
    model: ModelStatus | None = None
    alive: frozenset[str] = frozenset()
    """Nodes at which the pod of the service's runtime is Ready."""
    infeasible: Mapping[str, str] = field(default_factory=dict)
    """Why there is no route, by entry node."""
    withheld: Mapping[str, Blocked] = field(default_factory=dict)
    """Why there is no new table although there are routes, by entry node."""
    more: Counters = NOTHING
    """Requests that were counted since the status was written."""
    rollout: Decision | None = None
    revision: RevisionState | None = None
    """The candidate of the roll-out, if there is one."""
    version: tuple[str, str] | None = None
    """The reason and the message about the version of the runtimes; None while that is not known."""
    unchanged_until: float = 0.0
    """The last second of Unix time at which none had been."""


def service_status(
    service: InferenceService, seen: Observation, now: datetime.datetime
) -> InferenceServiceStatus:
    """Returns the status of the service after a reconcile."""
    found = _entries(service, seen)
    slo = slo_status(service, seen.placements, seen.more, now, seen.unchanged_until)
    previous = service.status or InferenceServiceStatus()
    findings = [
        _ready(service, seen, found),
        _progressing(seen, found),
        _degraded(service, seen, found),
        *seen.steps,
        slo_met(service, slo, seen.placements, now),
    ]
    idle = idle_finding(service, seen.placements)
    findings += [idle] if idle is not None else []
    findings += [updated] if (updated := _updated(previous, seen.version)) is not None else []
    absent = {reasons.IDLE} if idle is None else set()
    absent |= {reasons.RUNTIMES_UPDATED} if updated is None else set()
    order = tuple(kind for kind in ORDER if kind not in absent)
    if (rolled := rollout_reports.finding(service, seen.rollout)) is not None:
        findings.append(rolled)
    if seen.blocked is not None:
        findings.append(seen.blocked.finding())
    generation = service.metadata.generation or 0
    counts = entries.counts(found)
    shown = entries.shown(found)
    return InferenceServiceStatus(
        observed_generation=generation,
        conditions=conditions(previous.conditions, findings, order, generation, now),
        ready_entries=f"{counts.ready}/{counts.total}" if found else None,
        entry_counts=counts if found else None,
        ei_level=entries.ei_level(found),
        url=seen.url if seen.placements else None,
        model=rollout_reports.model_status(
            seen.model or previous.model, service, seen.rollout, seen.revision
        ),
        rollout=seen.rollout.status if seen.rollout is not None else None,
        exit=_joined([entry.exit for entry in shown]),
        cut=_joined([entry.cut for entry in shown]),
        slo=slo,
        qoe=qoe_status(found, slo),
        entries=shown,
    )


def _updated(previous: InferenceServiceStatus, version: tuple[str, str] | None) -> Finding | None:
    """Returns the condition about a new version of the runtimes; None if there has been none."""
    before = condition(previous.conditions, reasons.RUNTIMES_UPDATED)
    if version is None:
        if before is None:
            return None
        return Finding(reasons.RUNTIMES_UPDATED, before.status, before.reason, before.message)
    reason, message = version
    if reason == reasons.RUNTIMES_CURRENT:
        return Finding(reasons.RUNTIMES_UPDATED, "True", reason, message) if before is not None else None
    under_way = reason == reasons.RUNTIMES_ROLLING_OUT
    return Finding(reasons.RUNTIMES_UPDATED, "Unknown" if under_way else "False", reason, message)


def _entries(service: InferenceService, seen: Observation) -> list[Entry]:
    members = seen.members or [PoolMember(Node(name, {}, ready=True), "") for name in sorted(seen.placements)]
    return [
        Entry(
            member.node,
            seen.placements.get(member.node.name),
            member.tier,
            alive=member.node.name in seen.alive,
            trouble=seen.pods.get(member.node.name, ""),
            infeasible=seen.infeasible.get(member.node.name, ""),
            withheld=seen.withheld.get(member.node.name),
            former=entries.former_spec(seen.placements.get(member.node.name), service.spec),
        )
        for member in members
    ]


def pool_status(
    pool: DevicePool,
    nodes: Sequence[Node],
    now: datetime.datetime,
    older: Sequence[Claim] = (),
    *,
    untrusted: str = "",
    earlier: Sequence[str] = (),
    further: Sequence[Finding] = (),
) -> DevicePoolStatus:
    """Returns the nodes of a pool, and whether each of its groups and Triton servers selects one.

    older: what older pools select nodes by, from the oldest. untrusted: why TLS to a Triton server is not
    possible; empty if it is. earlier: the values in the spelling of an earlier version. further: its other
    conditions.
    """
    members, lost = shared_out(pool.spec, nodes, older)
    selected = {member.device_class for member in (*members, *(each.member for each in lost))}
    found = [PoolNode(name=m.node.name, device_class=m.device_class) for m in members]
    taken = taken_names(pool.spec.triton_servers, members)
    empty = [
        f'spec.nodes[{index}].{selector_field(group)}: "{selector_text(group)}" selects no node'
        for index, group in enumerate(pool.spec.nodes)
        if group.device_class not in selected
    ] + [
        f'spec.tritonServers[{index}].{selector_field(server)}: "{selector_text(server)}" selects no node'
        for index, server in enumerate(pool.spec.triton_servers)
        if not measured_itself(server) and not server_nodes(server, nodes)
    ]
    problems = (
        (reasons.NO_NODES, f"{'; '.join(empty)}: {_LABEL_NODES}" if empty else ""),
        (reasons.NO_CERTIFICATES, untrusted),
        (reasons.NAME_TAKEN, taken),
        (reasons.OVERLAPPING, _overlap(lost) if lost else ""),
    )
    wrong = [(reason, message) for reason, message in problems if message]
    if wrong:
        message = "; ".join(message for _, message in wrong)
        ready = Finding(reasons.READY, "False", wrong[0][0], message)
    else:
        message = "; ".join([_ALL_SELECT, *earlier])
        ready = Finding(reasons.READY, "True", reasons.NODES_FOUND, message)
    previous = pool.status or DevicePoolStatus()
    generation = pool.metadata.generation or 0
    findings = [ready, *further]
    order: tuple[ConditionType, ...] = tuple(each.type for each in findings)
    return DevicePoolStatus(
        observed_generation=generation,
        conditions=conditions(previous.conditions, findings, order, generation, now),
        node_count=len(found),
        nodes=tuple(found),
    )


def _overlap(lost: Sequence[LostNode]) -> str:
    counted = f"{len(lost)} selected {'node belongs' if len(lost) == 1 else 'nodes belong'}"
    return (
        f"spec.nodes: {counted} to older pools: {ownership_text(lost)}: change the selectors of one of the "
        "pools, e.g. with an expression on a label, or delete the older pool"
    )


def _ready(service: InferenceService, seen: Observation, found: Sequence[Entry]) -> Finding:
    serving = [entry.node.name for entry in found if entry.serves]
    if seen.blocked is not None and not (seen.blocked.transient and serving and _was_ready(service)):
        meanwhile = f"; {_previous(found)}" if serving else ""
        step = seen.blocked.finding()
        return Finding(reasons.READY, step.status, step.reason, step.message + meanwhile)
    wrong = [entry for entry in found if not entry.serves]
    enough = len(serving) >= entries.needed(found, service.spec.min_ready_entries)
    expected = [entry for entry in wrong if entry.node.ready]
    starting = bool(expected) and all(_starting(entry, service) for entry in expected)
    if not enough and not (starting and _was_ready(service) and serving):
        if starting:
            names = _named([entry.node.name for entry in expected])
            return Finding(
                reasons.READY, "Unknown", reasons.STARTING, f"the runtimes are starting at {names}"
            )
        return Finding(reasons.READY, "False", _common_reason(wrong), _problems(wrong))
    message = f"requests are answered at {_named(serving)}" if serving else "no entry node has to answer"
    if seen.blocked is not None:
        message = f"{_previous(found)}: {seen.blocked.message}"
    return Finding(reasons.READY, "True", reasons.SERVING, message)


def _previous(found: Sequence[Entry]) -> str:
    """Returns that entry nodes serve by routes of before, and by which fields of an earlier spec."""
    former = next((entry.former for entry in found if entry.serves and entry.former), "")
    return f"the previous routes keep serving{former}"


def _progressing(seen: Observation, found: Sequence[Entry]) -> Finding:
    if seen.blocked is not None:
        underway = seen.blocked.reason in UNDERWAY
        status: Status = "True" if underway else "Unknown" if seen.blocked.transient else "False"
        return Finding(reasons.PROGRESSING, status, seen.blocked.reason, seen.blocked.message)
    starting = [entry.node.name for entry in found if entry.pending]
    switching = [entry.node.name for entry in found if entry.serves and entry.switching]
    if starting:
        said = f"the runtimes are starting at {_named(starting)}"
        return Finding(reasons.PROGRESSING, "True", reasons.STARTING, said)
    if switching:
        said = f"{_named(switching)}: loading the new routes; the previous ones keep serving until then"
        return Finding(reasons.PROGRESSING, "True", reasons.SWITCHING, said)
    if wrong := [entry for entry in found if entry.problem]:
        return Finding(reasons.PROGRESSING, "False", _common_reason(wrong), _problems(wrong))
    return Finding(reasons.PROGRESSING, "False", reasons.UP_TO_DATE, "the published routes are in use")


def _degraded(service: InferenceService, seen: Observation, found: Sequence[Entry]) -> Finding:
    serving = any(entry.serves for entry in found)
    if seen.blocked is not None and serving and seen.blocked.reason not in UNDERWAY:
        said = f"{_previous(found)}: {seen.blocked.message}"
        return Finding(reasons.DEGRADED, "True", seen.blocked.reason, said)
    placed = bool(seen.placements)
    wrong = [e for e in found if e.problem and not _starting(e, service) and (placed or not _unplaced(e))]
    if wrong:
        return Finding(reasons.DEGRADED, "True", _common_reason(wrong), _problems(wrong))
    if not serving:
        return Finding(reasons.DEGRADED, "Unknown", reasons.STARTING, "no entry node answers yet")
    return Finding(reasons.DEGRADED, "False", reasons.SERVING, "nothing is wrong at the entry nodes")


def _unplaced(entry: Entry) -> bool:
    """Whether nothing is wrong but that no routes are published yet."""
    return entry.placement is None and entry.node.ready and not entry.infeasible and entry.withheld is None


def _starting(entry: Entry, service: InferenceService) -> bool:
    """Whether nothing is wrong but that the runtime is not up for the first time."""
    reported = entry.placement is not None and entry.placement.status is not None
    before = _condition(service)
    return entry.pending and not (reported and before is not None and before.status != "Unknown")


def _common_reason(wrong: Sequence[Entry]) -> str:
    """Returns the reason that all of these entry nodes have, if they agree."""
    given = {_reason(entry) for entry in wrong}
    return reasons.known(given.pop() if len(given) == 1 else None, reasons.ENTRIES_NOT_READY)


def _reason(entry: Entry) -> str | None:
    if entry.infeasible:
        return reasons.INFEASIBLE
    if entry.withheld is not None:
        return entry.withheld.reason
    report = entry.placement.status if entry.placement is not None else None
    return report.reason if report is not None and not report.loaded else None


def _problems(wrong: Sequence[Entry]) -> str:
    sentences = [f"{entry.node.name}: {entry.problem}" for entry in wrong[:_NODES_NAMED]]
    return "; ".join([*sentences, *_more(wrong)])


def _named(nodes: Sequence[str]) -> str:
    return ", ".join([*nodes[:_NODES_NAMED], *_more(nodes)])


def _more(items: Sequence[object]) -> list[str]:
    rest = len(items) - _NODES_NAMED
    return [f"and {rest} more"] if rest > 0 else []


def _was_ready(service: InferenceService) -> bool:
    """Whether this generation was Ready before."""
    ready = _condition(service)
    return (
        ready is not None
        and ready.status == "True"
        and ready.observed_generation == service.metadata.generation
    )


def _condition(service: InferenceService) -> Condition | None:
    """Returns the condition Ready as it was."""
    conditions = service.status.conditions if service.status is not None else ()
    return condition(conditions, reasons.READY)


def _joined(values: Sequence[str | None]) -> str | None:
    return ",".join(dict.fromkeys(value for value in values if value)) or None
