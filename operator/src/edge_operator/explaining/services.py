"""Explains the plan of a service: route tables, rejected candidates and why, what the pool lacks.

Plans the pool from the objects at the API server, with the operator's functions. Changes nothing.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from edge_api import ModelProfile, reasons
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import InferenceService
from edge_api.modelprofiles import ModelProfileSpec
from edge_api.objects import Condition
from edge_api.placements import UNENCODED
from edge_api.quantities import Duration
from edge_api.validation_messages import sentences
from edge_operator.cluster import INFERENCE_SERVICES
from edge_operator.conditions import Blocked
from edge_operator.errors import ExplanationError
from edge_operator.explaining.entries import EntryExplainer
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Reads
from edge_operator.explaining.replanning import SeenPool, replanned, seen_pool, view_role
from edge_operator.explaining.values import ConditionNow, Explanation, TenantExplanation
from edge_operator.keys import ServiceKey
from edge_operator.pool import manifests, recorded
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import Joint, PoolPlan
from edge_operator.pool.pooled import PlannedEntry, PooledService
from edge_operator.pool.remedies import explained
from edge_operator.pool.states import PoolState
from edge_operator.pool.surroundings import Surroundings, of_service, unfit
from edge_operator.pool.tenant_status import share_of_pool
from edge_operator.reading import read
from edge_planning.errors import PlanningError

_STEPS = (reasons.MODEL_READY, reasons.PROFILED, reasons.PLANNED, reasons.PLACED)
_NAMED = 3
"""Services that a note names; the others are counted."""


@dataclass(frozen=True, slots=True)
class PlannedService:
    """A service in the plan of its pool.

    Attributes:
        service: As the API server has it.
        seen: The pool as this account sees it.
        entries: What it gets at each of its entry nodes; at least one.
    """

    service: InferenceService
    seen: SeenPool
    plan: PoolPlan
    profile: ModelProfile
    joint: Joint
    pooled: PooledService
    entries: tuple[PlannedEntry, ...]


def planned_service(
    cluster: Reads, namespace: str, name: str, operator: Installed, now: datetime.datetime
) -> PlannedService:
    """Returns a service as an operator plans it that starts now.

    Raises ExplanationError if there is no plan yet, or a permission is missing that it needs; ClusterError if
    objects cannot be read.
    """
    scope = operator.scope
    service = service_of(cluster, namespace, name)
    key, where = ServiceKey(namespace, name), f"InferenceService {namespace}/{name}"
    if scope not in (None, namespace):
        raise ExplanationError(f'{where}: the operator watches only namespace "{scope}": use one there')
    seen = seen_pool(cluster, service.spec.device_pool, operator.settings, namespace, scope)
    plan = replanned(seen.state, Now(0.0, now))
    profile = _profile(seen.state, plan, service, key)
    joint = _joint(plan, service, profile, key)
    pooled = plan.services[key].pooled
    assert pooled is not None, "a service without a part in the pool's plan is not explained"
    entries = tuple(entry for entry in joint.entries[key] if not (entry.intermediate or entry.held))
    if not entries:
        shortage = next(entry.shortage for entry in joint.entries[key])
        raise ExplanationError(f"{where}: {shortage}")
    return PlannedService(service, seen, plan, profile, joint, pooled, entries)


def explain_service(
    cluster: Reads, namespace: str, name: str, operator: Installed, now: datetime.datetime
) -> Explanation:
    """Returns the explanation of a service. Raises as planned_service does."""
    found = planned_service(cluster, namespace, name, operator, now)
    key, service, seen = ServiceKey(namespace, name), found.service, found.seen
    explainer = EntryExplainer(found.joint.plan)
    spec = found.pooled.spec
    return Explanation(
        service=name,
        namespace=namespace,
        latency=Duration(spec.slo.latency),
        percentile=spec.slo.percentile,
        min_accuracy=spec.slo.min_accuracy,
        mode=spec.mode,
        optimize=spec.optimize,
        conditions=tuple(_now(condition) for condition in _open(service)),
        tenant=_tenant(seen.state, found.joint, key),
        notes=(
            *operator.notes,
            *_notes(service, found.profile, found.plan, key),
            *_not_seen(seen, namespace),
        ),
        entries=tuple(explainer.explain(found.pooled, entry) for entry in found.entries),
    )


def _profile(state: PoolState, plan: PoolPlan, service: InferenceService, key: ServiceKey) -> ModelProfile:
    """Returns the service's ModelProfile. Raises ExplanationError if nothing can be planned without one."""
    where = f"InferenceService {key.namespace}/{key.name}"
    read_pool = plan.surroundings
    assert read_pool is not None, "every plan has the pool as read"
    found = read_pool.found
    if isinstance(found, Blocked):
        raise ExplanationError(f"{where}: {found.message}")
    found = of_service(found, service.spec)
    blocked = unfit(found, service.spec)
    if blocked is not None:
        raise ExplanationError(f"{where}: {blocked.message}")
    body = state.services[key].profile if key in state.services else None
    if body is None:
        raise ExplanationError(f"{where}: not profiled yet: {_pending(service)}")
    try:
        profile = ModelProfile.model_validate(in_this_version(body))
    except ValidationError as error:
        wrong = "; ".join(sentences(ModelProfile, error))
        raise ExplanationError(
            f"ModelProfile {key.namespace}/{key.name}: {wrong}: run the version that the operator runs"
        ) from error
    _check_measured(profile.spec, found, service, where)
    return profile


def _check_measured(
    profile: ModelProfileSpec, found: Surroundings, service: InferenceService, where: str
) -> None:
    """Raises ExplanationError if a device class of an entry node is not measured."""
    measured, card = manifests.device_profiles(profile), recorded.metadata(profile)
    classes = sorted({member.device_class for member in found.entries})
    try:
        for name in classes:
            if card is not None and name in measured:
                manifests.of_exits(measured[name], card)
    except PlanningError as error:
        message = explained(error, service.metadata.name, found.pool.metadata.name)[1]
        raise ExplanationError(f"{where}: {message}") from error
    missing = [name for name in classes if name not in measured]
    if missing:
        raise ExplanationError(
            f"{where}: device class {', '.join(missing)} is not profiled yet: {_pending(service)}"
        )


def _joint(plan: PoolPlan, service: InferenceService, profile: ModelProfile, key: ServiceKey) -> Joint:
    """Returns the plan of all services. Raises ExplanationError if this one has no part in it."""
    where, own, joint = f"InferenceService {key.namespace}/{key.name}", plan.services[key], plan.joint
    assert joint is not None, "every plan of a pool that can be read has a joint one"
    failed = joint.plan.failed.get(key)
    if failed is not None:
        message = explained(failed, key.name, service.spec.device_pool)[1]
        raise ExplanationError(f"{where}: {message}")
    if key in joint.entries:
        return joint
    # What it says of measurements is what an operator would begin, and explain begins nothing.
    if own.blocked is not None and own.blocked.step != reasons.PROFILED:
        raise ExplanationError(f"{where}: {own.blocked.message}")
    if service.metadata.deletion_timestamp is not None:
        raise ExplanationError(f"{where}: is being deleted: there is no plan")
    digest = profile.spec.model.digest
    raise ExplanationError(f"{where}: the measurements of {digest} cannot be used: {_pending(service)}")


def service_of(cluster: Reads, namespace: str, name: str) -> InferenceService:
    """Returns a service. Raises ExplanationError if it does not exist or is invalid; ClusterError."""
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


def _tenant(state: PoolState, joint: Joint, key: ServiceKey) -> TenantExplanation | None:
    """Returns what the service's tenant has of the pool; None if there are no Tenants."""
    if not state.tenancy:
        return None
    name = state.tenancy.of(key.namespace)
    share = next((one for one in joint.plan.plan.tenants if one.name == name), None)
    return None if share is None else TenantExplanation(name=name, pool=share_of_pool(state.name, share))


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


def _notes(
    service: InferenceService, profile: ModelProfile, plan: PoolPlan, key: ServiceKey
) -> tuple[str, ...]:
    spec, model, notes = service.spec, profile.spec.model, []
    source = recorded.resolved(service)
    if spec.model.digest is not None and spec.model.digest != model.digest:
        notes.append(
            f'spec.model.digest: "{spec.model.digest}" is not profiled yet: this plan is for {model.digest}'
        )
    elif all(recorded.card_of(profile, source, tokens=tokens) is None for tokens in (False, True)):
        notes.append(f"spec.model: changed since it was profiled: this plan is for {model.digest}")
    if spec.model.validation is not None and profile.spec.codecs is None:
        notes.append(
            f"spec.model.validation: no accuracies with codecs in the ModelProfile: hops use {UNENCODED} here"
        )
    others = _without_plan([one for one, each in plan.services.items() if each.pooled is None], key)
    return (*notes, *([others] if others else []))


def _not_seen(seen: SeenPool, namespace: str) -> tuple[str, ...]:
    """Returns what is not counted because the account cannot list it."""
    if not seen.hidden:
        return ()
    kinds, role = " and ".join(kind.plural for kind in seen.hidden), view_role(seen.state.settings)
    said = f"not counted: {kinds} of namespaces other than {namespace}, which this account cannot list"
    return (f"{said}: bind it to ClusterRole {role} by a ClusterRoleBinding",)


def _without_plan(keys: Sequence[ServiceKey], own: ServiceKey) -> str:
    """Returns which services use nothing here because they are not ready to be planned."""
    named = [key.name for key in keys if key.namespace == own.namespace and key != own]
    foreign = sum(key.namespace != own.namespace for key in keys)
    more = [f"{len(named) - _NAMED} more"] if len(named) > _NAMED else []
    if foreign:
        more.append(f"{foreign} of other namespaces")
    listed = ", ".join([*named[:_NAMED], *more])
    return f"not counted, since they cannot be planned yet: {listed}" if listed else ""
