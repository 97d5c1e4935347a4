"""Explains the plan of a service: route tables, rejected candidates and why, nearest feasible latency.

Repeats the plan from the objects at the API server, with the operator's functions. Changes nothing.
"""

import math

from pydantic import ValidationError

from edge_api import ModelProfile, Placement, reasons
from edge_api.inferenceservices import InferenceService, InferenceServiceSpec
from edge_api.modelprofiles import ModelProfileSpec
from edge_api.objects import Condition, Part
from edge_api.placements import UNENCODED
from edge_api.quantities import Duration, Quantity
from edge_api.validation_messages import sentences
from edge_operator import explained_problems
from edge_operator.cluster import INFERENCE_SERVICES, MODEL_PROFILES, Cluster
from edge_operator.conditions import Blocked
from edge_operator.errors import ExplanationError
from edge_operator.pool import manifests
from edge_operator.pool.codecs import usable_codecs
from edge_operator.pool.published import published
from edge_operator.pool.remedies import explained
from edge_operator.pool.server_links import published_link
from edge_operator.pool.surroundings import Surroundings, surroundings, unfit
from edge_operator.pools import PoolMember
from edge_operator.reading import read
from edge_planning import EntryProblem, Infeasible, Plan, PlanningError, explain, plan_entry, plans, rejected
from edge_planning.choosing.sentences import sufficient_seconds

_STEPS = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED)


class ConditionNow(Part):
    """A condition that is not True, with the meaning and the fix of its reason."""

    type: str
    status: str
    reason: str
    message: str
    meaning: str = ""
    fix: str = ""


class PlannedRoute(Part):
    """A route of the table.

    predicted_cost: of a request; None if nothing has a price. meets_from: bandwidth (bit/s) from which it
    meets the SLO; None: never.
    """

    name: str
    accuracy: float
    min_bandwidth: Quantity
    predicted_latency: Duration
    predicted_cost: float | None = None
    meets_from: Quantity | None = None


class Lost(Part):
    """A candidate outside the route table, and the route that beat it. meets_from as in PlannedRoute."""

    name: str
    accuracy: float
    meets_from: Quantity | None = None
    reason: str


class Weighed(Part):
    """A candidate at one bandwidth. latency: None without a link. reason: None for the chosen one.

    joules: of the entry node per request, as far as the pool declares watts and radio; None if it does not.
    cost: of a request, by the pool's prices; None if nothing has a price.
    """

    name: str
    where: str
    accuracy: float
    latency: Duration | None = None
    joules: float | None = None
    cost: float | None = None
    reason: str | None = None


class EntryExplanation(Part):
    """One entry node. bandwidth (bit/s): measured now, or the top of the range that was planned for.

    limits: why the plan does not meet the SLO at every bandwidth. remedies: changes with which it would at
    `bandwidth`.
    """

    node: str
    device_class: str
    feasible: bool
    meets_slo: bool
    active_route: str | None = None
    bandwidth: Quantity
    measured: bool
    nearest_feasible_latency: Duration | None = None
    routes: tuple[PlannedRoute, ...] = ()
    limits: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    rejected: tuple[Lost, ...] = ()
    weighed: tuple[Weighed, ...] = ()


class Explanation(Part):
    """One service. notes: where this may differ from what the operator planned."""

    service: str
    namespace: str
    latency: Duration
    percentile: float
    min_accuracy: float | None = None
    mode: str
    optimize: str
    conditions: tuple[ConditionNow, ...] = ()
    notes: tuple[str, ...] = ()
    entries: tuple[EntryExplanation, ...]


def explain_service(cluster: Cluster, namespace: str, name: str) -> Explanation:
    """Raises ExplanationError if there is no plan yet, ClusterError if objects cannot be read."""
    service = _service(cluster, namespace, name)
    spec, where = service.spec, f"InferenceService {namespace}/{name}"
    found = surroundings(cluster, spec)
    if isinstance(found, Blocked):
        raise ExplanationError(f"{where}: {found.message}")
    blocked = unfit(found, spec)
    if blocked is not None:
        raise ExplanationError(f"{where}: {blocked.message}")
    profile = _profile(cluster, service)
    costs = manifests.device_profiles(profile)
    missing = sorted(_classes(found) - set(costs))
    if missing:
        raise ExplanationError(
            f"{where}: device class {', '.join(missing)} is not profiled yet: {_pending(service)}"
        )
    current, former = published(cluster, namespace, name)
    placements = {**former, **current}
    try:
        model = manifests.profiled_model(name, profile.model)
        accuracies = manifests.codec_accuracies(profile)
        codecs = usable_codecs(accuracies)
        confidences = accuracies.confidences if accuracies is not None else ()
        rates = explained_problems.arrival_rates(spec, found.members)
        entries = []
        for member in found.entries:
            placement = placements.get(member.node.name)
            problem = explained_problems.problem_at(
                spec,
                model,
                found.pool.spec,
                found.members,
                costs=costs,
                member=member,
                placements=placements,
                server=explained_problems.published_server(found.pool.spec, costs, placement),
                link=published_link(placement),
                rates=rates,
                codecs=codecs,
                confidences=confidences,
            )
            entries.append(explain_entry(member, problem, placement))
    except PlanningError as error:
        raise ExplanationError(f"{where}: {explained(error, name, found.pool.metadata.name)[1]}") from error
    return Explanation(
        service=name,
        namespace=namespace,
        latency=Duration(spec.slo.latency),
        percentile=spec.slo.percentile,
        min_accuracy=spec.slo.min_accuracy,
        mode=spec.mode,
        optimize=spec.optimize,
        conditions=tuple(_now(condition) for condition in _open(service)),
        notes=_notes(spec, profile),
        entries=tuple(entries),
    )


def explain_entry(
    member: PoolMember, problem: EntryProblem, placement: Placement | None = None
) -> EntryExplanation:
    """Returns the plan of one entry node with everything that it rejected. Pure."""
    plan = plan_entry(problem)
    at = explain(problem, problem.model.name, problem.node)
    report = placement.status if placement is not None else None
    return EntryExplanation(
        node=member.node.name,
        device_class=member.device_class,
        feasible=isinstance(plan, Plan),
        meets_slo=isinstance(plan, Plan) and plan.met,
        active_route=report.active_route if report is not None else None,
        bandwidth=Quantity(at.bandwidth),
        measured=problem.bandwidth is not None,
        nearest_feasible_latency=_nearest(plan.nearest_slo),
        routes=() if isinstance(plan, Infeasible) else tuple(map(_route, plan.table.routes)),
        limits=plan.reasons,
        remedies=at.remedies,
        rejected=tuple(
            Lost(
                name=each.name,
                accuracy=each.accuracy,
                meets_from=_bandwidth(each.met_from),
                reason=each.reason,
            )
            for each in rejected(problem, plan)
        ),
        weighed=tuple(
            Weighed(
                name=line.name,
                where=line.where,
                accuracy=line.accuracy,
                latency=Duration(line.latency.total) if math.isfinite(line.latency.total) else None,
                joules=_rounded(line.energy) if problem.has_power else None,
                cost=_rounded(line.cost) if problem.has_prices else None,
                reason=line.reason,
            )
            for line in at.lines
        ),
    )


def _service(cluster: Cluster, namespace: str, name: str) -> InferenceService:
    body = cluster.get(INFERENCE_SERVICES, namespace, name)
    if body is None:
        there = sorted(each["metadata"]["name"] for each in cluster.find(INFERENCE_SERVICES, namespace))
        fix = f"use one of {', '.join(there)}" if there else "the namespace has none; choose another with -n"
        raise ExplanationError(f"InferenceService {namespace}/{name}: does not exist: {fix}")
    try:
        return read(InferenceService, body)
    except ValidationError as error:
        wrong = "; ".join(sentences(InferenceService, error))
        raise ExplanationError(f"InferenceService {namespace}/{name}: {wrong}") from error


def _profile(cluster: Cluster, service: InferenceService) -> ModelProfileSpec:
    namespace, name = service.metadata.namespace, service.metadata.name
    body = cluster.get(MODEL_PROFILES, namespace, name)
    if body is None:
        raise ExplanationError(f"InferenceService {namespace}/{name}: not profiled yet: {_pending(service)}")
    try:
        return ModelProfile.model_validate(body).spec
    except ValidationError as error:
        wrong = "; ".join(sentences(ModelProfile, error))
        raise ExplanationError(
            f"ModelProfile {namespace}/{name}: {wrong}: run the version that the operator runs"
        ) from error


def _classes(found: Surroundings) -> set[str]:
    """Returns the device classes that planning requires."""
    return {member.device_class for member in found.entries}


def _open(service: InferenceService) -> list[Condition]:
    """Returns the conditions of the steps that are not True."""
    conditions = service.status.conditions if service.status is not None else ()
    return [c for c in conditions if c.type in _STEPS and c.status != "True"]


def _pending(service: InferenceService) -> str:
    """Returns the condition that says why there is no profile."""
    waiting = _open(service)
    if not waiting:
        return "no condition says why: check that the operator is running"
    first = waiting[0]
    return f"condition {first.type} is {first.status}, {first.reason}: {first.message}"


def _now(condition: Condition) -> ConditionNow:
    meaning = reasons.REASONS.get(condition.reason)
    return ConditionNow(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        meaning=meaning.meaning if meaning else "",
        fix=meaning.fix if meaning else "",
    )


def _notes(spec: InferenceServiceSpec, profile: ModelProfileSpec) -> tuple[str, ...]:
    notes = []
    if spec.model.digest is not None and spec.model.digest != profile.model.digest:
        notes.append(
            f'spec.model.digest: "{spec.model.digest}" is not profiled yet: this plan is for '
            f"{profile.model.digest}"
        )
    if spec.model.validation is not None and profile.codecs is None:
        notes.append(
            f"spec.model.validation: no accuracies with codecs in the ModelProfile: hops use {UNENCODED} here"
        )
    return tuple(notes)


def _rounded(value: float) -> float | None:
    """Returns a finite value with four significant digits."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _nearest(seconds: float | None) -> Duration | None:
    return None if seconds is None or math.isinf(seconds) else Duration(sufficient_seconds(seconds))


def _route(route: plans.Route) -> PlannedRoute:
    return PlannedRoute(
        name=route.name,
        accuracy=route.accuracy,
        min_bandwidth=Quantity(route.min_bandwidth),
        predicted_latency=Duration(route.latency),
        predicted_cost=None if route.cost is None else _rounded(route.cost),
        meets_from=_bandwidth(route.met_from),
    )


def _bandwidth(bits_per_second: float | None) -> Quantity | None:
    return None if bits_per_second is None else Quantity(math.ceil(bits_per_second))
