"""Checks of an InferenceService against Tenants, DevicePools and other services. Pure."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from edge_api import InferenceService, reasons
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.quotas import Quota, parse_amount
from edge_api.tenants import TenantPool, TenantSpec
from edge_operator.admission.model_files import unreadable
from edge_operator.admission.requests import Request
from edge_operator.admission.states import State, named
from edge_operator.admission.verdicts import Problem
from edge_operator.pool.tenancy import resolved

_LOCAL: Final = ("cpu", "memory")
_REMOTE: Final = ("uplink", "tritonTime")
"""Kinds of resources that every route at the entry node alone, and every route to a Triton server, needs."""
_PLACES: Final = {
    "LocalOnly": (_LOCAL,),
    "RightSizingOnly": (_LOCAL,),
    "CloudOnly": (_REMOTE,),
    "PartitionOnly": (_LOCAL, _REMOTE),
    "Auto": (_LOCAL, _REMOTE),
}
"""Kinds that the routes of each mode need: one group or the other is enough."""


def check_service(request: Request, state: State) -> Iterator[Problem]:
    """Yields the problems of an InferenceService.

    What depends on an object that may be applied later, and what was accepted before, is a warning: a lower
    ceiling must not keep its author from changing other fields. Raises ValidationError if a value cannot be
    read.
    """
    new = InferenceService.model_validate({**request.new, "status": None}).spec
    old = InferenceService.model_validate({**request.old, "status": None}).spec if request.old else None
    yield from unreadable(new.model, None if old is None else old.model, state.rules)
    yield from _pool(new, old, state)
    tenancy = resolved(state.tenants, [state.namespace(request.namespace)])
    name = tenancy.owners.get(request.namespace)
    if name is not None:
        tenant = tenancy.specs[name]
        yield from _priority(name, tenant, new, old)
        yield from _quotas(name, tenant, new, old, state)
        yield from _stopped(name, tenant)
    yield from _ports(request, new, state)


def _pool(spec: InferenceServiceSpec, old: InferenceServiceSpec | None, state: State) -> Iterator[Problem]:
    known = state.pool_names()
    if spec.device_pool in known:
        if spec.device_pool in state.ending_pools() and (old is None or old.device_pool != spec.device_pool):
            message = (
                f'spec.devicePool: "{spec.device_pool}" is being deleted, and takes no further services: '
                "write another DevicePool, or create this one again once it is gone"
            )
            yield Problem(reasons.POOL_ENDS, message, refuses=True)
        return
    near = get_close_matches(spec.device_pool, known, n=1, cutoff=0.6)
    fix = f"write {near[0]}, or apply the DevicePool" if near else "apply the DevicePool"
    message = f'spec.devicePool: "{spec.device_pool}" does not exist: {fix}; the service waits for it'
    yield Problem(reasons.UNKNOWN_POOL, message)


def _priority(
    name: str, tenant: TenantSpec, new: InferenceServiceSpec, old: InferenceServiceSpec | None
) -> Iterator[Problem]:
    ceiling = tenant.priority_ceiling
    if ceiling is None or new.priority <= ceiling:
        return
    message = (
        f'spec.priority: "{new.priority}" exceeds the priorityCeiling {ceiling} of Tenant {name}: write '
        f"{ceiling} or less, or raise spec.priorityCeiling of the Tenant"
    )
    raised = old is None or new.priority > old.priority
    yield Problem(reasons.PRIORITY_ABOVE_CEILING, message, raised)


def _quotas(
    name: str,
    tenant: TenantSpec,
    new: InferenceServiceSpec,
    old: InferenceServiceSpec | None,
    state: State,
) -> Iterator[Problem]:
    own = next((each for each in tenant.pools if each.name == new.device_pool), None)
    if own is None:
        return
    moved = old is None or (old.device_pool, old.mode) != (new.device_pool, new.mode)
    blocked = [[kind for kind in group if _admits_nothing(own, kind)] for group in _PLACES[new.mode]]
    if all(blocked):
        kinds = " and ".join(dict.fromkeys(kind for group in blocked for kind in group))
        message = (
            f'spec.devicePool: "{new.device_pool}" gives Tenant {name} a quota of 0 of {kinds}, without '
            f"borrowing, so that mode {new.mode} has no route: raise nominalQuota or borrowingLimit of the "
            "Tenant, or choose another pool or mode"
        )
        yield Problem(reasons.QUOTA_ADMITS_NOTHING, message, moved)
    elif moved:
        yield from _used_up(name, own, state)


def _admits_nothing(own: TenantPool, kind: str) -> bool:
    nominal, borrowing = own.nominal_quota.by_kind().get(kind), own.borrowing_limit.by_kind().get(kind)
    return nominal is not None and _is_zero(nominal) and borrowing is not None and _is_zero(borrowing)


def _is_zero(quota: Quota) -> bool:
    return not (quota.amount if quota.share is None else quota.share)


def _used_up(name: str, own: TenantPool, state: State) -> Iterator[Problem]:
    """Yields the kinds of which the tenant uses all, by its status, and that it must not borrow."""
    body = next((each for each in state.tenants if each["metadata"]["name"] == name), {})
    pools = (body.get("status") or {}).get("pools") or ()
    found: Mapping[str, Any] = next((each for each in pools if each.get("name") == own.name), {})
    limits = own.borrowing_limit.by_kind()
    for each in found.get("resources") or ():
        kind = str(each.get("kind"))
        used, nominal = parse_amount(str(each.get("used"))), parse_amount(str(each.get("nominal")))
        limited = kind in limits and _is_zero(limits[kind])
        if used is None or nominal is None or not limited or used < nominal:
            continue
        message = (
            f'spec.devicePool: "{own.name}": Tenant {name} uses {each["used"]} of its {each["nominal"]} of '
            f"{kind} and borrows none: raise its quota there, or expect lower exits or a refusal"
        )
        yield Problem(reasons.QUOTA_USED_UP, message)


def _stopped(name: str, tenant: TenantSpec) -> Iterator[Problem]:
    if tenant.stop_policy != "None":
        message = (
            f'spec.stopPolicy: "{tenant.stop_policy}" of Tenant {name} keeps the service from getting '
            "routes: "
            "set it to None"
        )
        yield Problem(reasons.TENANT_STOPPED, message)


def _ports(request: Request, new: InferenceServiceSpec, state: State) -> Iterator[Problem]:
    exposure = new.exposure
    if exposure is None:
        return
    own = (request.namespace, request.name)
    for field, port in (("httpPort", exposure.http_port), ("grpcPort", exposure.grpc_port)):
        for other in state.services if port else ():
            metadata = other["metadata"]
            if (metadata.get("namespace"), metadata["name"]) == own or metadata.get("deletionTimestamp"):
                continue
            theirs = other["spec"].get("exposure") or {}
            if port in (theirs.get("httpPort"), theirs.get("grpcPort")):
                message = (
                    f'spec.exposure.{field}: "{port}" is a port of InferenceService {named(other)}, '
                    "too: write "
                    "another one, or leave it out"
                )
                yield Problem(reasons.PORT_IN_USE, message)
