"""Why a service does not fit at an entry node, in the terms of its manifest. Pure.

Services of other namespaces are counted, not named: a tenant reads the sentence.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from edge_api.quantities import format_bandwidth
from edge_operator.tritons.admission import bytes_text
from edge_planning.choosing.sentences import seconds_text
from edge_planning.pools import PoolDemand, PoolPlan, Refusal
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.values import LIMIT

_NAMED = 3
"""Services that a sentence names; the others are counted."""


Demands = Mapping[str, PoolDemand]
"""All demands of the pool, by name."""


def refusal(refused: Refusal, name: str, demands: Demands) -> str:
    """Returns what a demand needs, who uses it, and what makes room."""
    fixes = _fixes(refused, demands[name], demands)
    return f"{lack(refused, name, demands)}: {', or '.join(fixes)}"


def binding(resource: Resource) -> str:
    """Returns the name of a resource, e.g. `uplink of cam-1`."""
    return f"Triton server {resource.place}" if resource.kind is Kind.BUSY else str(resource)


def lack(refused: Refusal, name: str, demands: Demands) -> str:
    """Returns what of which resource a demand needs, what is left of it, and who uses the rest."""
    resource = refused.resource
    if refused.waiting:
        return "a more accurate table waits for others of this minute"
    if resource is None:
        return refused.message
    place = resource.place
    needed, left, capacity = refused.asked, refused.left, refused.capacity
    if resource.kind is Kind.MEMORY:
        sentence = (
            f"memory of {place}: {_bytes(needed, up=True)} needed, {_bytes(left)} of {_bytes(capacity)} left"
        )
    elif resource.kind is Kind.UPLINK:
        sentence = (
            f"uplink of {place}: {format_bandwidth(needed)}bit/s needed, {format_bandwidth(left)}bit/s of "
            f"{format_bandwidth(capacity)}bit/s left"
        )
    else:
        shares = f"{_share(needed)} of its time needed, {_share(left)} of {_share(capacity)} left"
        sentence = f"{binding(resource)}: {shares}"
        if needed <= left:
            sentence += ", but requests would wait too long"
    users = _users(refused, demands[name], demands)
    sentence = f"{sentence}, used by {users}" if users else sentence
    return f"{sentence}; {_claim(refused)}" if refused.claim is not None else sentence


def held_back(tenant: str) -> str:
    """Returns why an entry node gets no routes while its tenant is held."""
    return (
        f'Tenant {tenant}: spec.stopPolicy: "Hold" keeps services from getting routes where they have none: '
        "write None to place them"
    )


def drained(tenant: str) -> str:
    """Returns why a service has no routes while its tenant is drained."""
    return (
        f'Tenant {tenant}: spec.stopPolicy: "HoldAndDrain" removes the routes of its services, and requests '
        "fail: write None to place them"
    )


def suspended(service: str) -> str:
    """Returns why a suspended service has no routes."""
    return f"InferenceService {service}: spec.suspend: true removes its routes: write false to serve requests"


def crowding(plan: PoolPlan) -> frozenset[str]:
    """Returns the demands whose measured requests explain why one has less than it would have alone."""
    lacking = {name: placed.short for name, placed in plan.placed.items() if placed.short is not None}
    found = {
        user
        for name, short in lacking.items()
        if short.resource is not None and short.resource.kind is not Kind.MEMORY
        for user in (name, *(user for user, _ in short.users))
    }
    return frozenset(one.name for one in plan.problem.demands if one.observed and one.name in found)


def _users(refused: Refusal, own: PoolDemand, demands: Demands) -> str:
    """Returns who uses a resource; without amounts of memory, since services of a namespace share it."""
    assert refused.resource is not None
    kind = refused.resource.kind
    named, others = [], 0.0
    for name, amount in refused.users:
        demand = demands.get(name)
        if demand is not None and demand.tenant == own.tenant:
            named.append(demand.service + _at(demand, own) + _amount(kind, amount))
        else:
            others += amount
    found = _listed(named)
    if others:
        found.append("other namespaces" + _amount(kind, others))
    return _joined(found)


def _claim(refused: Refusal) -> str:
    """Returns what the tenant uses of the resource, and is entitled to."""
    claim, resource = refused.claim, refused.resource
    assert claim is not None
    assert resource is not None
    kind = resource.kind
    used, nominal = (_of_kind(kind, amount) for amount in (claim.used, claim.nominal))
    limit = ", all that its borrowingLimit allows," if claim.limited else ""
    return f"tenant {claim.tenant} uses {used} of it{limit} and is entitled to {nominal}"


def _of_kind(kind: Kind, amount: float) -> str:
    if kind is Kind.MEMORY:
        return _bytes(amount)
    return f"{format_bandwidth(amount)}bit/s" if kind is Kind.UPLINK else _share(amount)


def _fixes(refused: Refusal, own: PoolDemand, demands: Demands) -> Sequence[str]:
    room, resource, found = refused.room, refused.resource, []
    if room.rate is not None and room.rate < own.rate:
        found.append(f"set spec.load.rate to at most {room.rate:g}")
    if room.latency is not None:
        found.append(f"raise spec.slo.latency to {seconds_text(room.latency)}")
    if room.accuracy is not None:
        found.append(f"lower spec.slo.minAccuracy to {room.accuracy:g}")
    gone = [demands[name] for name in room.remove if name in demands]
    if gone:
        found.append(_removal(gone, own))
    claim = refused.claim
    if claim is not None and resource is not None:
        quota = _quota(refused)
        if claim.limited:
            found.append(f"raise borrowingLimit.{quota} of Tenant {claim.tenant}")
        elif claim.used + refused.asked > claim.nominal:
            found.append(f"raise nominalQuota.{quota} or the weight of Tenant {claim.tenant}")
    # Between tenants, priorities order only refusals.
    rivals = [demands[name] for name, _ in refused.users if name in demands]
    rivals = [one for one in rivals if claim is None or one.owner == own.owner]
    highest = max((one.priority for one in rivals), default=-LIMIT)
    if own.priority <= highest < LIMIT:
        found.append(f"raise spec.priority above {highest}")
    return found or ["use another DevicePool, or add nodes or capacity to this one"]


def _quota(refused: Refusal) -> str:
    """Returns the field of the quota for what binds."""
    assert refused.resource is not None
    return {Kind.CPU: "cpu", Kind.UPLINK: "uplink", Kind.BUSY: "tritonTime", Kind.MEMORY: "memory"}[
        refused.resource.kind
    ]


def _removal(gone: Sequence[PoolDemand], own: PoolDemand) -> str:
    mine = _joined(_listed([one.service + _at(one, own) for one in gone if one.tenant == own.tenant]))
    foreign = sum(one.tenant != own.tenant for one in gone)
    if not foreign:
        return f"remove {mine}"
    others = f"have {foreign} service{'s' if foreign > 1 else ''} of other namespaces removed"
    return f"remove {mine} and {others}" if mine else others


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _at(one: PoolDemand, own: PoolDemand) -> str:
    return "" if one.node == own.node else f" at {one.node}"


def _amount(kind: Kind, amount: float) -> str:
    if kind is Kind.MEMORY:
        return ""
    return f" ({format_bandwidth(amount)}bit/s)" if kind is Kind.UPLINK else f" ({_share(amount)})"


def _listed(names: Sequence[str]) -> list[str]:
    more = len(names) - _NAMED
    return list(names) if more <= 0 else [*names[:_NAMED], f"{more} more"]


def _bytes(amount: float, *, up: bool = False) -> str:
    return bytes_text(int(amount), up=up) if isfinite(amount) else "unlimited"


def _share(amount: float) -> str:
    """Returns e.g. 60%, and 0.25% where whole percents say nothing."""
    return f"{float(f'{100 * amount:.2g}'):g}%"
