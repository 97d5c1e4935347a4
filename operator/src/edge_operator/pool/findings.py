"""The condition Planned of a service, from what its entry nodes get. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edge_api import reasons
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.placements import UNENCODED
from edge_operator.conditions import Blocked, Finding
from edge_operator.pool.codecs import refusals
from edge_operator.pool.pooled import PlannedEntry
from edge_operator.store_answers import CodecAccuracies, DeviceProfile
from edge_planning import Infeasible, Plan
from edge_planning.choosing.sentences import seconds_text, sufficient_seconds

UNACCELERATED = "CPU"
"""The execution provider of a profile that names none."""


def without_routes(entries: Sequence[PlannedEntry]) -> dict[str, str]:
    """Returns why entry nodes have no routes, by node."""
    return {
        each.member.node.name: _why(each)
        for each in entries
        if not each.intermediate and not isinstance(each.plan, Plan)
    }


def planned_finding(
    spec: InferenceServiceSpec,
    entries: Sequence[PlannedEntry],
    accuracies: CodecAccuracies | None = None,
    costs: Mapping[str, DeviceProfile] = MappingProxyType({}),
) -> Finding | Blocked:
    """Returns whether every entry node has routes that meet the SLO, or what keeps it from them.

    Returns a Blocked if none has routes. accuracies: with codecs; None without validation data.
    costs: by device class.
    """
    planned = [each for each in entries if not each.intermediate]
    refused = [each for each in planned if not isinstance(each.plan, Plan)]
    unfit = [each for each in refused if each.plan is None]
    held = bool(unfit) and all(each.held for each in unfit)
    reason = reasons.TENANT_HELD if held else reasons.DOES_NOT_FIT if unfit else reasons.INFEASIBLE
    if refused:
        limits = "; ".join(
            filter(
                None, (_limits(spec, [each for each in refused if each.plan is not None]), _shortages(unfit))
            )
        )
        if len(refused) == len(planned):
            return Blocked(reasons.PLANNED, reason, limits)
        names = ", ".join(each.member.node.name for each in refused)
        message = f"no route at {names}: {limits}; the other entry nodes have their routes"
        return Finding(reasons.PLANNED, "False", reason, message)
    late = [each for each in planned if isinstance(each.plan, Plan) and not each.plan.met]
    waiting = [each for each in planned if each.shortage and not each.in_time]
    if late or waiting:
        limits = "; ".join(filter(None, (_limits(spec, late), _waiting(waiting))))
        declared = late or spec.planned_rate
        remedy = "the fastest routes are used" if declared else "set spec.load.rate to have room reserved"
        message = f"{limits}: {remedy}"
        return Finding(reasons.PLANNED, "True", reasons.SLO_OUT_OF_REACH, message)
    message = _reasons(planned) or "the SLO is met at any bandwidth"
    if shortages := _shortages(planned):
        message += f"; less than the service would have alone: {shortages}"
    reason = reasons.PLANNED_AS_ASKED
    if accuracies is not None and not accuracies.complete:
        reason = reasons.MEASURING_CODECS
        message += f"; the accuracy with codecs is being measured, hops use {UNENCODED} until then"
    if said := refusals(accuracies):
        message += f"; {said}"
    if missing := _missing_providers(planned, costs):
        message += f"; {missing}"
    return Finding(reasons.PLANNED, "True", reason, message)


def _why(entry: PlannedEntry) -> str:
    return "; ".join(entry.plan.reasons) if isinstance(entry.plan, Infeasible) else entry.shortage


def _waiting(entries: Sequence[PlannedEntry]) -> str:
    """Returns where requests are late because of the load, and of what there is too little."""
    names = ", ".join(each.member.node.name for each in entries)
    return f"requests are late at {names}: {_shortages(entries)}" if names else ""


def _limits(spec: InferenceServiceSpec, missed: Sequence[PlannedEntry]) -> str:
    """Returns what keeps entry nodes from meeting the SLO, and the latency that all of them can meet."""
    if not missed:
        return ""
    nearest = [each.plan.nearest_slo for each in missed if each.plan is not None]
    feasible = [seconds for seconds in nearest if seconds is not None and math.isfinite(seconds)]
    if len(feasible) < len(nearest):
        return _reasons(missed)
    return (
        f'spec.slo.latency: "{spec.slo.latency}": {_reasons(missed)}; '
        f"the nearest feasible latency is {seconds_text(sufficient_seconds(max(feasible)))}"
    )


def _missing_providers(planned: Sequence[PlannedEntry], costs: Mapping[str, DeviceProfile]) -> str:
    """Returns which device classes run on another execution provider than their group prefers."""
    sentences = dict[str, None]()
    for member in (each.member for each in planned):
        measured = costs.get(member.device_class)
        used = (measured.execution_provider if measured is not None else None) or UNACCELERATED
        if member.execution_providers and used != member.execution_providers[0]:
            sentences[
                f"device class {member.device_class} runs on {used}, since its image has no "
                f"{member.execution_providers[0]}"
            ] = None
    return "; ".join(sentences)


def _reasons(planned: Sequence[PlannedEntry]) -> str:
    return _once_for_each_class(
        planned, lambda each: "; ".join(each.plan.reasons) if each.plan is not None else ""
    )


def _shortages(planned: Sequence[PlannedEntry]) -> str:
    return _once_for_each_class(planned, lambda each: each.shortage)


def _once_for_each_class(planned: Sequence[PlannedEntry], said: Callable[[PlannedEntry], str]) -> str:
    """Returns what is said of the first node of each device class, and the other nodes."""
    classes: dict[str, list[PlannedEntry]] = {}
    for each in planned:
        if said(each):
            classes.setdefault(each.member.device_class, []).append(each)
    sentences = []
    for first, *others in classes.values():
        likewise = f" (also at {', '.join(each.member.node.name for each in others)})" if others else ""
        sentences.append(said(first) + likewise)
    return "; ".join(dict.fromkeys(sentences))
