"""What each tenant of a pool uses, borrows and lends, and why its demands have less than they want."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats
from edge_planning.sharing.holdings import Holdings
from edge_planning.sharing.quotas import ResourceKind


class Limit(StrEnum):
    """What limits a tenant at a resource."""

    CAPACITY = "Capacity"
    """All of it is used, or kept for its owner."""
    BORROWING = "BorrowingLimit"
    """The tenant's own borrowing limit."""
    BUDGET = "MoveBudget"
    """Nothing: the move was not worth its cost, or is left for a later plan."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Amounts of one kind of resource over the pool, in its unit.

    Attributes:
        nominal: What the tenant is entitled to.
        used: What it uses.
        borrowed: What it uses of single resources beyond its entitlement there.
        lent: What others use of its entitlement.
    """

    nominal: float
    used: float
    borrowed: float
    lent: float


@dataclass(frozen=True, slots=True)
class Shortage:
    """Services of a tenant that lack the same for their best candidate.

    Attributes:
        services: Their names.
        refused: Whether they are refused, not only stepped down.
        resource: What does not suffice; empty for MoveBudget.
        missing: Amount of it that the service with the smallest gap lacks; 0 for MoveBudget.
    """

    services: tuple[str, ...]
    refused: bool
    resource: str
    limit: Limit
    missing: float

    @property
    def message(self) -> str:
        """Such as `3 services at a lower exit: uplink of edge-b`."""
        count = len(self.services)
        what = "refused" if self.refused else "at a lower exit"
        why = {
            Limit.CAPACITY: self.resource,
            Limit.BORROWING: f"borrowing limit for {self.resource}",
            Limit.BUDGET: "waiting for the budget of moves",
        }[self.limit]
        return f"{count} service{'s' * (count != 1)} {what}: {why}"


@dataclass(frozen=True, slots=True)
class TenantShare:
    """A tenant's part of a pool.

    Attributes:
        kinds: Amounts by kind; None: resources without a kind.
        dominant_share: Largest share of any one resource that it uses.
        weighted_share: Largest share of any one resource that it borrows, over its weight; inf if it borrows
            with weight 0.
        shortages: Refusals first, then by the number of services.
    """

    name: str
    weight: float
    kinds: Mapping[ResourceKind | None, Kept]
    dominant_share: float
    weighted_share: float
    shortages: tuple[Shortage, ...]

    @property
    def refused(self) -> int:
        """Number of services of which a demand is refused."""
        return len({name for one in self.shortages if one.refused for name in one.services})

    @property
    def stepped_down(self) -> int:
        """Number of services of which a demand has less than its best candidate."""
        return len({name for one in self.shortages if not one.refused for name in one.services})


def tenant_shares(holdings: Holdings) -> tuple[TenantShare, ...]:
    """Returns the part of each tenant, in the order of the problem's tenants."""
    problem, entitled = holdings.problem, holdings.entitled
    use = np.array(holdings.use)
    borrowed = np.maximum(use - entitled.nominal, 0.0)
    lent = _lent(use, entitled.nominal, entitled.kept, problem.capacity)
    capacity = np.where(problem.capacity > 0, problem.capacity, np.inf)
    dominant = (use / capacity).max(axis=1).tolist()
    shortages = _shortages(holdings)
    found = []
    for number, tenant in enumerate(problem.tenants):
        kinds = {}
        for kind in dict.fromkeys(problem.kinds):
            rows = [row for row, one in enumerate(problem.kinds) if one == kind]
            amounts = (entitled.nominal, use, borrowed, lent)
            kinds[kind] = Kept(*(float(one[number, rows].sum()) for one in amounts))
        most = holdings.borrowed[number]
        weighted = most / tenant.weight if tenant.weight > 0 else inf * (most > 0) if most else 0.0
        found.append(
            TenantShare(
                tenant.name, tenant.weight, kinds, dominant[number], weighted, tuple(shortages[number])
            )
        )
    return tuple(found)


def _lent(use: Floats, nominal: Floats, kept: Floats, capacity: Floats) -> Floats:
    """Returns what others use of each tenant's entitlement [T, R].

    What belongs to none is borrowed first, then what owners lend, each in proportion to what it can lend.
    """
    unowned = np.maximum(capacity - nominal.sum(axis=0), 0.0)
    needed = np.maximum(np.maximum(use - nominal, 0.0).sum(axis=0) - unowned, 0.0)
    lendable = np.maximum(nominal - np.maximum(use, kept), 0.0)
    total = lendable.sum(axis=0)
    part = np.divide(needed, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(lendable * np.minimum(part, 1.0))


def _shortages(holdings: Holdings) -> list[list[Shortage]]:
    problem = holdings.problem
    services: dict[tuple[int, bool, str, Limit], dict[str, float]] = defaultdict(dict)
    worth = np.where(holdings.allowed, problem.worth, -1.0)
    best = worth.argmax(axis=1).tolist()
    for demand, now in enumerate(holdings.choice):
        if now == REFUSED:
            wanted = _smallest(holdings, demand)
        elif worth[demand, best[demand]] > worth[demand, now] * (1 + 1e-9):
            wanted = best[demand]
        else:
            continue
        resource, limit, missing = _binding(holdings, demand, wanted)
        name = problem.names[demand][0] if problem.names is not None else problem.demand_name(demand)
        lacking = services[holdings.tenant(demand), now == REFUSED, resource, limit]
        lacking[name] = min(missing, lacking.get(name, inf))
    found: list[list[Shortage]] = [[] for _ in problem.tenants]
    for (tenant, refused, resource, limit), names in services.items():
        found[tenant].append(Shortage(tuple(names), refused, resource, limit, min(names.values())))
    for each in found:
        each.sort(key=lambda one: (not one.refused, -len(one.services), one.resource, one.limit))
    return found


def _smallest(holdings: Holdings, demand: int) -> int:
    """Returns the candidate that uses the least share of what is left."""
    problem = holdings.problem
    capacity = np.maximum(problem.capacity, 1e-300)[problem.rows[demand]]
    sizes = (problem.uses[demand] / capacity[:, None]).max(axis=0)
    return int(np.where(problem.valid[demand], sizes, inf).argmin())


def _binding(holdings: Holdings, demand: int, option: int) -> tuple[str, Limit, float]:
    """Returns the resource that is most short for a candidate, what limits it, and the missing amount."""
    problem = holdings.problem
    lacking = dict(holdings.excess(demand, option))
    if not lacking:
        return "", Limit.BUDGET, 0.0
    capacity = np.maximum(problem.capacity, 1e-300)
    row = max(lacking, key=lambda one: (lacking[one] / capacity[one], -one))
    tenant = holdings.tenant(demand)
    after = holdings.use[tenant][row] + holdings.changes(demand, option)[row]
    limited = after > float(holdings.entitled.most[tenant, row]) + 1e-9 * float(problem.capacity[row])
    return problem.resources[row], Limit.BORROWING if limited else Limit.CAPACITY, lacking[row]
