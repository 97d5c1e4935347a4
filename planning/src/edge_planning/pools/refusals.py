"""Why a demand does not fit into a pool, and what would make room."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from edge_planning.choosing.sentences import seconds_text, sufficient_seconds
from edge_planning.plans import Infeasible
from edge_planning.pools.costed import Costed
from edge_planning.pools.crowding import Crowding
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.results import Refusal, Room, TenantUse
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import rounded_down

_UNITS = {Kind.CPU: "s/s", Kind.MEMORY: "bytes", Kind.UPLINK: "bit/s", Kind.BUSY: "s/s"}
_SHOWN = 3
_USERS = 20
_MOST = 10
"""Removals that are worth a message."""


def unfit(demand: PoolDemand, count: int, every: Sequence[Costed], ledger: Ledger) -> Refusal:
    """Returns the refusal of a demand of which no candidate fits.

    every: All its candidates, also below its minimum accuracy, with the waits of the present load.
    """
    allowed = [one for one in every if _accurate(one, demand)] or list(every)
    least = min(allowed, key=lambda one: (_excess(demand, count, one, ledger), one.latency))
    return blocked(demand, count, least, ledger, room_for(demand, count, every, ledger))


def blocked(
    demand: PoolDemand, count: int, wanted: Costed | Held, ledger: Ledger, room: Room = Room()
) -> Refusal:
    """Returns what keeps a demand from a candidate or a table: a full resource, or else the waits."""
    held = wanted if isinstance(wanted, Held) else Held(demand, wanted.reserved, count)
    resource = ledger.binding(held)
    full = resource is not None
    if resource is None:
        resource = _slowest(held, ledger)
    asked = ledger.asked(held).get(resource, 0.0)
    left = ledger.left(resource, demand.owner)
    return _refusal(demand, resource, (asked, left), ledger, ledger.users(resource), room, full=full)


def crowded(held: Held, crowding: Crowding) -> Refusal:
    """Returns what keeps a demand from the table that it holds, beside the measured requests of others."""
    ledger, name = crowding.ledger, held.demand.name
    resource = crowding.short(name)
    if resource is None:
        resource = _slowest(held, crowding)
    used = crowding.used(resource)
    taken = sum(amount for user, amount in used.items() if user != name)
    left = max(ledger.capacity[resource] - taken, 0.0)
    amounts = crowding.wanted(held, resource), left
    found = _refusal(held.demand, resource, amounts, ledger, [*used.items()])
    if found.claim is None:
        return found
    more = sum(
        amount
        for user, amount in crowding.taken(resource).items()
        if ledger.held[user].demand.owner == held.demand.owner
    )
    return replace(found, claim=replace(found.claim, used=found.claim.used + more))


def _refusal(
    demand: PoolDemand,
    resource: Resource,
    amounts: tuple[float, float],
    ledger: Ledger,
    every: Sequence[tuple[str, float]],
    room: Room = Room(),
    *,
    full: bool = False,
) -> Refusal:
    """Returns the refusal by a resource. amounts: asked and left. every: All its users."""
    asked, left = amounts
    capacity = ledger.capacity[resource]
    others = len(every) - any(name == demand.name for name, _ in every)
    users = tuple(one for one in every[: _USERS + 1] if one[0] != demand.name)[:_USERS]
    unit = _UNITS[resource.kind]
    numbers = f"{asked:.4g} {unit} needed, {left:.4g} of {capacity:.4g} left"
    message = f"{demand.name}: {resource} {'is full' if full else 'is busy'}: {numbers}"
    if users:
        message += f", used by {_listed([f'{name} ({amount:.3g})' for name, amount in users], others)}"
    if room != Room():
        message += f"; room would come from {_remedy(room)}"
    return Refusal(
        message, resource, asked, left, capacity, users, room, claim=_claim(demand.owner, resource, ledger)
    )


def _claim(owner: str, resource: Resource, ledger: Ledger) -> TenantUse | None:
    """Returns what the tenant of a demand uses of a resource, and is entitled to."""
    accounts = ledger.accounts
    if accounts is None:
        return None
    free = ledger.capacity[resource] - ledger.used(resource)
    return TenantUse(
        owner,
        accounts.used(owner, resource),
        accounts.claim(owner, resource).nominal,
        accounts.limited(owner, resource, free),
    )


def never(demand: PoolDemand, plan: Infeasible) -> Refusal:
    """Returns the refusal of a demand that an empty pool could not serve either."""
    return Refusal(f"{demand.name}: {'; '.join(plan.reasons)}", infeasible=plan)


def room_for(demand: PoolDemand, count: int, every: Sequence[Costed], ledger: Ledger) -> Room:
    """Returns what would make room for a demand; each change alone suffices."""
    allowed = [one for one in every if _accurate(one, demand)]
    fitting = [one for one in every if ledger.fits(Held(demand, one.reserved, count))]
    slower = [one.latency for one in fitting if _accurate(one, demand) and not one.worth]
    timely = [one for one in fitting if one.worth and not _accurate(one, demand)]
    return Room(
        rate=max((_rate(demand, count, one, ledger) for one in allowed), default=0.0) or None,
        latency=sufficient_seconds(min(slower)) if slower else None,
        accuracy=max((one.accuracy for one in timely), default=None),
        remove=_removals(demand, count, allowed, ledger),
    )


def _accurate(one: Costed, demand: PoolDemand) -> bool:
    least = demand.problems[0].min_accuracy
    return least is None or one.accuracy >= least


def _rate(demand: PoolDemand, count: int, one: Costed, ledger: Ledger) -> float:
    """Returns the highest rate at which a candidate fits; 0 if memory binds, or it is late."""
    if not one.worth and demand.problems[0].min_accuracy is not None:
        return 0.0
    share = 1.0
    for resource, more in ledger.asked(Held(demand, one.reserved, count)).items():
        left = ledger.left(resource, demand.owner)
        if more > left and resource.kind is Kind.MEMORY:
            return 0.0
        share = min(share, left / more)
    return rounded_down(demand.rate * share, 3)


def _removals(demand: PoolDemand, count: int, allowed: Sequence[Costed], ledger: Ledger) -> tuple[str, ...]:
    """Returns the fewest demands of no higher priority found that make room for one of the candidates."""
    best: tuple[str, ...] = ()
    for one in sorted(allowed, key=lambda each: _excess(demand, count, each, ledger))[:_SHOWN]:
        held = Held(demand, one.reserved, count)
        gone: list[str] = []
        while len(gone) < (len(best) or _MOST):
            with ledger.without(gone):
                resource = ledger.binding(held)
            if resource is None:
                break
            name = _first(demand, resource, gone, ledger)
            if name is None:
                break
            gone.append(name)
        with ledger.without(gone):
            if gone and (not best or len(gone) < len(best)) and ledger.fits(held):
                best = tuple(gone)
    return best


def _first(demand: PoolDemand, resource: Resource, gone: Sequence[str], ledger: Ledger) -> str | None:
    """Returns the user of a resource to remove first: of the lowest priority, then the largest."""
    users = (name for name, _ in ledger.users(resource) if name not in gone)
    found = min(users, key=lambda name: ledger.held[name].demand.priority, default=None)
    return found if found is not None and ledger.held[found].demand.priority <= demand.priority else None


def _excess(demand: PoolDemand, count: int, one: Costed, ledger: Ledger) -> float:
    """Returns by which factor a candidate exceeds what is left, at the resource where it is largest."""
    return max(
        (
            more / max(ledger.left(resource, demand.owner), 1e-300)
            for resource, more in ledger.asked(Held(demand, one.reserved, count)).items()
            if isfinite(ledger.capacity[resource])
        ),
        default=0.0,
    )


def _slowest(held: Held, ledger: Ledger | Crowding) -> Resource:
    """Returns the resource of the place at which its requests would wait longest."""
    reserved = held.reserved
    busy = [one for one in sorted(reserved.uses) if one.kind in (Kind.CPU, Kind.BUSY)]
    if not busy:
        return Resource(Kind.CPU, held.demand.node)
    return max(busy, key=lambda one: ledger.wait(one.place, reserved.percentile))


def _remedy(room: Room) -> str:
    found = []
    if room.rate is not None:
        found.append(f"a rate of at most {room.rate:g} requests/s")
    if room.latency is not None:
        found.append(f"spec.slo.latency of {seconds_text(room.latency)}")
    if room.accuracy is not None:
        found.append(f"spec.slo.minAccuracy of {room.accuracy:g}")
    if room.remove:
        found.append(f"removing {_listed(room.remove)}")
    return ", or ".join(found)


def _listed(names: Sequence[str], count: int | None = None) -> str:
    count = len(names) if count is None else count
    shown = ", ".join(names[:_SHOWN])
    return shown if count <= _SHOWN else f"{shown} and {count - _SHOWN} more"
