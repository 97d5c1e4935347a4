"""The status of a Tenant, and the events of what changed in it. Pure."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from pydantic import ValidationError

from edge_api import Tenant, reasons
from edge_api.objects import written
from edge_api.quantities import format_bandwidth
from edge_api.quotas import parse_amount
from edge_api.reasons import ConditionType
from edge_api.tenants import DEFAULT, ResourceUse, TenantPoolStatus, TenantStatus
from edge_operator.cluster import Object
from edge_operator.conditions import Finding, condition, conditions
from edge_operator.pool.actions import Event, SetStatus
from edge_operator.pool.protection import held_up
from edge_operator.pool.tenancy import Tenancy
from edge_operator.reading import read, unreadable
from edge_operator.tritons.admission import bytes_text
from edge_planning.pools import PoolShare
from edge_planning.sharing import ResourceKind

_ORDER: tuple[ConditionType, ...] = (reasons.READY, reasons.ACTIVE, reasons.SATISFIED)
_NAMED = 5
"""Namespaces that a condition names; the others are counted."""
_SHORTAGES = 16
"""Shortages of a pool that the status lists."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What tenants have of the pools.

    Attributes:
        planned: Of each pool that was planned since the start of the operator, by tenant.
        pools: Names of all pools.
    """

    planned: Mapping[str, Mapping[str, PoolShare]]
    pools: Collection[str]


def reported(
    body: Object, tenancy: Tenancy, shares: Shares, now: datetime.datetime, in_use: Finding | None = None
) -> SetStatus | None:
    """Returns the status of a Tenant with its events, if it has to be written.

    in_use: the condition InUse; None unless its deletion waits for services.
    """
    name = body["metadata"]["name"]
    if body["metadata"].get("deletionTimestamp") and in_use is None:
        return None
    if name in tenancy.unreadable:
        status = unreadable(TenantStatus, body, tenancy.unreadable[name], _ORDER, now)
        wanted = written(status)
        event = Event(body, "Warning", reasons.UNREADABLE, "; ".join(tenancy.unreadable[name]))
        return None if wanted == body.get("status") else SetStatus(body, wanted, (event,))
    try:
        tenant = read(Tenant, body)
    except ValidationError:
        return None  # a version that the tenants were not resolved with: the next event brings it
    before = tenant.status or TenantStatus()
    after = tenant_status(tenant, before, tenancy, shares, now, in_use)
    wanted = written(after)
    if wanted == body.get("status"):
        return None
    events = tuple(Event(body, *event) for event in changes(before, after))
    return SetStatus(body, wanted, (*held_up(body, body.get("status") or {}, in_use), *events))


def tenant_status(
    tenant: Tenant,
    before: TenantStatus,
    tenancy: Tenancy,
    shares: Shares,
    now: datetime.datetime,
    in_use: Finding | None = None,
) -> TenantStatus:
    """Returns the status. Pools that were not planned yet since the start keep theirs."""
    name = tenant.metadata.name
    found = {one.name: one for one in before.pools if one.name not in shares.planned}
    for pool, each in shares.planned.items():
        if name in each:
            found[pool] = share_of_pool(pool, each[name])
    pools = tuple(found[pool] for pool in sorted(found) if pool in shares.pools)
    generation = tenant.metadata.generation or 0
    findings = [_ready(tenant, tenancy, shares.pools), _active(tenant), _satisfied(pools)]
    order = _ORDER if in_use is None else (*_ORDER, in_use.type)
    findings += [] if in_use is None else [in_use]
    own = [each[name] for pool, each in shares.planned.items() if name in each and pool in shares.pools]
    return TenantStatus(
        observed_generation=generation,
        conditions=conditions(before.conditions, findings, order, generation, now),
        namespaces=len(tenancy.namespaces(name)),
        share=_percent(max(one.dominant for one in own)) if own else before.share if pools else None,
        borrowed=_percent(max(one.borrowed for one in own)) if own else before.borrowed if pools else None,
        stepped_down=sum(one.stepped_down for one in pools),
        refused=sum(one.refused for one in pools),
        pools=pools,
    )


def changes(before: TenantStatus, after: TenantStatus) -> list[tuple[str, str, str]]:
    """Returns events (type, reason, message).

    They say that more services step down or are refused, that all have again what they would have alone, and
    that the tenant uses again what others had borrowed from it.
    """
    found = []
    satisfied = condition(after.conditions, reasons.SATISFIED)
    message = "" if satisfied is None else f"{satisfied.type}: {satisfied.message}"
    if after.refused > before.refused:
        found.append(("Warning", reasons.SERVICES_REFUSED, message))
    elif after.stepped_down > before.stepped_down:
        found.append(("Warning", reasons.STEPPED_DOWN, message))
    elif (before.refused or before.stepped_down) and not (after.refused or after.stepped_down):
        found.append(("Normal", reasons.ALL_SERVED, message))
    earlier = {(pool.name, each.kind): each for pool in before.pools for each in pool.resources}
    for pool in after.pools:
        for each in pool.resources:
            old = earlier.get((pool.name, each.kind))
            if old is None:
                continue
            back = _number(old.lent) - _number(each.lent)
            if back > 0 and _number(each.used) > _number(old.used):
                amount = _amount(ResourceKind(each.kind), back)
                said = f"{pool.name}: {amount} of {each.kind} that other tenants had borrowed is in use again"
                found.append(("Normal", reasons.RECLAIMED, said))
    return found


def share_of_pool(name: str, share: PoolShare) -> TenantPoolStatus:
    """Returns what a tenant has of a pool. name: of the pool."""
    return TenantPoolStatus(
        name=name,
        resources=tuple(
            ResourceUse(
                kind=kind,
                nominal=_amount(kind, kept.nominal),
                used=_amount(kind, kept.used),
                borrowed=_amount(kind, kept.borrowed),
                lent=_amount(kind, kept.lent),
            )
            for kind in ResourceKind
            if (kept := share.kinds.get(kind)) is not None
        ),
        share=_percent(share.dominant),
        weighted_share=f"{share.weighted:.3g}" if isfinite(share.weighted) else "inf",
        services=share.services,
        stepped_down=share.stepped_down,
        refused=share.refused,
        shortages=tuple(one.message for one in share.shortages[:_SHORTAGES]),
    )


def _ready(tenant: Tenant, tenancy: Tenancy, pools: Collection[str]) -> Finding:
    name = tenant.metadata.name
    if overlaps := tenancy.overlaps.get(name, ()):
        listed = [f"{namespace} (Tenant {older})" for namespace, older in overlaps]
        count = f"{_count(len(listed), 'namespace')} that it selects belong{'s' * (len(listed) == 1)}"
        message = (
            f"spec.namespaceSelector: {count} to an older Tenant: {_listed(listed)}: change one selector"
        )
        return Finding(reasons.READY, "False", reasons.OVERLAPPING, message)
    for index, pool in enumerate(tenant.spec.pools):
        if pool.name not in pools:
            known = (
                f"use one of {', '.join(sorted(pools))}" if pools else "create a DevicePool with this name"
            )
            message = f'spec.pools[{index}].name: "{pool.name}" does not exist: {known}'
            return Finding(reasons.READY, "False", reasons.DEVICE_POOL_NOT_FOUND, message)
    own = tenancy.namespaces(name)
    if not own and name != DEFAULT:
        message = "spec.namespaceSelector: selects no namespace: label a namespace, or change the selector"
        return Finding(reasons.READY, "False", reasons.NO_NAMESPACES, message)
    said = f"{_count(len(own), 'namespace')} belong{'s' * (len(own) == 1)} to the tenant: {_listed(own)}"
    if name == DEFAULT:
        said = "the namespaces that no other Tenant selects belong to the tenant"
    return Finding(reasons.READY, "True", reasons.NAMESPACES_FOUND, said)


def _active(tenant: Tenant) -> Finding:
    match tenant.spec.stop_policy:
        case "Hold":
            message = 'spec.stopPolicy: "Hold": services get no routes where they have none'
            return Finding(reasons.ACTIVE, "False", reasons.HELD, f"{message}: write None to place them")
        case "HoldAndDrain":
            message = 'spec.stopPolicy: "HoldAndDrain": services have no routes, and requests fail'
            return Finding(reasons.ACTIVE, "False", reasons.DRAINED, f"{message}: write None to place them")
    return Finding(reasons.ACTIVE, "True", reasons.PLACING, "services of the tenant are placed")


def _satisfied(pools: Sequence[TenantPoolStatus]) -> Finding:
    message = "; ".join(f"{pool.name}: {said}" for pool in pools for said in pool.shortages)
    if any(pool.refused for pool in pools):
        return Finding(reasons.SATISFIED, "False", reasons.SERVICES_REFUSED, message)
    if any(pool.stepped_down for pool in pools):
        return Finding(reasons.SATISFIED, "False", reasons.STEPPED_DOWN, message)
    number = sum(pool.services for pool in pools)
    said = f"{_count(number, 'service')} with all that they would have alone" if number else "no services"
    return Finding(reasons.SATISFIED, "True", reasons.ALL_SERVED, said)


def _amount(kind: ResourceKind, amount: float) -> str:
    if kind in (ResourceKind.MEMORY, ResourceKind.TRITON_MEMORY):
        return bytes_text(round(amount))
    if kind is ResourceKind.UPLINK:
        return format_bandwidth(amount)
    return f"{amount:.3g}"


def _number(amount: str) -> float:
    return float(parse_amount(amount) or 0)


def _percent(part: float) -> str:
    return "<0.01%" if 0 < part < 1e-4 else f"{float(f'{100 * part:.3g}'):g}%"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"and {more} more"] if more > 0 else [])])
