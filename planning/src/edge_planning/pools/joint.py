"""One candidate for each demand, chosen by share() or share_by_entitlement() for all together.

Their capacities are linear, memory is not: a slice and a runtime count once for all demands that use
them. So each demand is charged a part of their bytes, divided among those that use them, or none if a demand
that is planned already holds them. The caller checks the exact use.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np

from edge_planning.pools.costed import Costed
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Part, Reservation, Resource
from edge_planning.pools.values import LIMIT, PoolDemand
from edge_planning.sharing import (
    EntitledPlan,
    SharedResource,
    Tenant,
    from_arrays,
    share,
    share_by_entitlement,
)
from edge_planning.sharing.arrays import REFUSED, Floats, Mask

MOVE_COST = 0.005
"""Accuracy that a move must gain."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A demand with its candidates, as far as a joint choice needs them: of most, little memory is taken.

    Attributes:
        worth: Of each candidate.
        uses: What each candidate uses of every resource but memory.
        parts: What each candidate has in memory.
        count: Entry nodes that are planned as this one.
        current: Position of the candidate in use, if any.
    """

    demand: PoolDemand
    worth: Floats
    uses: Mapping[Resource, Floats]
    parts: Sequence[Mapping[Part, float]]
    count: int
    current: int | None = None

    def __len__(self) -> int:
        return len(self.worth)


def asking(demand: PoolDemand, costed: Sequence[Costed], count: int, current: int | None = None) -> Asking:
    """Returns a demand with these candidates."""
    uses: dict[Resource, Floats] = {}
    for number, each in enumerate(costed):
        for resource, amount in Held(demand, each.reserved, count).uses():
            if resource not in uses:
                uses[resource] = np.zeros(len(costed))
            uses[resource][number] += amount
    worth = np.array([each.worth for each in costed], dtype=np.float64)
    return Asking(demand, worth, uses, tuple(each.reserved.parts for each in costed), count, current)


def sharers(demands: Iterable[Asking], chosen: Mapping[str, Reservation] | None = None) -> Counter[Part]:
    """Returns how many demands use each part: any of their candidates, or the chosen one."""
    if chosen is not None:
        return Counter(part for one in chosen.values() for part in one.parts)
    found: Counter[Part] = Counter()
    for one in demands:
        found.update({part for parts in one.parts for part in parts})
    return found


class JointChoice(NamedTuple):
    """picked: the position of the chosen candidate of each demand, or REFUSED.

    spent: moves for accuracy with what is borrowed. waiting: demands for whose moves the budget does not
    suffice.
    """

    picked: list[int]
    spent: int = 0
    waiting: frozenset[str] = frozenset()


def joint_choice(
    every: Sequence[Asking],
    tenants: Sequence[Tenant],
    ledger: Ledger,
    capacity: Mapping[Resource, float],
    shared_by: Mapping[Part, int],
    chosen: Mapping[str, Reservation] | None = None,
    *,
    moves: int | None = None,
) -> JointChoice:
    """Returns a candidate for each demand, or its refusal.

    ledger: What other demands hold. capacity: Of every resource, theirs included.
    shared_by, chosen: As of `sharers`. moves: As of `share_by_entitlement`.
    """
    charged = [_charges(one, ledger, shared_by, chosen) for one in every]
    names = sorted({name for one in charged for name in one if isfinite(capacity[name])})
    left = {name: max(capacity[name] - ledger.used(name), 0.0) for name in names}
    fits = [_fitting(one, charges, left) for one, charges in zip(every, charged, strict=True)]
    some = [number for number, mask in enumerate(fits) if mask.any()]
    picked = [REFUSED] * len(every)
    if not names or not some:
        return JointChoice([0] * len(every) if not names else picked)
    row = {name: number for number, name in enumerate(names)}
    width = max(len(every[number]) for number in some)
    slots = max(1, max(sum(name in row for name in charged[number]) for number in some))
    rows = np.zeros((len(some), slots), dtype=np.int64)
    uses = np.zeros((len(some), slots, width))
    value = np.zeros((len(some), width))
    valid = np.zeros((len(some), width), dtype=np.bool_)
    for at, number in enumerate(some):
        one, count = every[number], len(every[number])
        touched = sorted(row[name] for name in charged[number] if name in row)
        rows[at, : len(touched)] = touched
        for slot, place in enumerate(touched):
            uses[at, slot, :count] = charged[number][names[place]]
        value[at, :count] = one.worth
        valid[at, :count] = fits[number]
    uses = np.where(valid[:, None, :], uses, 0.0)
    demands = [every[number] for number in some]
    tenant_at = {one.name: number for number, one in enumerate(tenants)}
    current = [
        REFUSED if one.current is None or not valid[at, one.current] else one.current
        for at, one in enumerate(demands)
    ]
    problem = from_arrays(
        tenants=tenants,
        resources=[SharedResource(str(name), left[name], ledger.kind_of(name)) for name in names],
        tenant=np.array([tenant_at[one.demand.owner] for one in demands], dtype=np.int64),
        rate=np.array([one.demand.rate * one.count for one in demands]),
        value=value,
        rows=rows,
        uses=uses,
        priority=np.array([LIMIT + one.demand.priority for one in demands], dtype=np.float64),
        valid=valid,
        current=np.array(current, dtype=np.int64),
        move_cost=MOVE_COST,
        measured=_measured(tenants, names, ledger),
    )
    shared = share(problem) if ledger.accounts is None else share_by_entitlement(problem, moves=moves)
    for number, choice in zip(some, shared.choices.tolist(), strict=True):
        picked[number] = int(choice)
    if isinstance(shared, EntitledPlan):
        waiting = frozenset(demands[number].demand.name for number in shared.waiting)
        return JointChoice(picked, shared.spent, waiting)
    return JointChoice(picked)


def _measured(tenants: Sequence[Tenant], names: Sequence[Resource], ledger: Ledger) -> Floats | None:
    """Returns what measured requests of each tenant would take beyond what is reserved."""
    accounts = ledger.accounts
    if accounts is None:
        return None
    return np.array([[accounts.claim(one.name, name).measured for name in names] for one in tenants])


def _fitting(one: Asking, charges: Mapping[Resource, Floats], left: Mapping[Resource, float]) -> Mask:
    """Returns the mask of the candidates that fit if no other demand is served."""
    fits = np.ones(len(one), dtype=np.bool_)
    for resource, amounts in charges.items():
        if resource in left:
            fits &= amounts <= left[resource]
    return fits


def _charges(
    one: Asking,
    ledger: Ledger,
    shared_by: Mapping[Part, int],
    chosen: Mapping[str, Reservation] | None,
) -> dict[Resource, Floats]:
    """Returns what each candidate is charged of every resource."""
    found = {resource: amounts.copy() for resource, amounts in one.uses.items()}
    own = None if chosen is None else chosen.get(one.demand.name)
    for number, parts in enumerate(one.parts):
        for part, size in parts.items():
            if not size or ledger.holders(part):
                continue
            others = shared_by.get(part, 0)
            if chosen is not None and (own is None or part not in own.parts):
                others += 1
            if part.memory not in found:
                found[part.memory] = np.zeros(len(one))
            found[part.memory][number] += size / max(others, 1)
    return found
