"""What each tenant has within its entitlement, whatever the others want."""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask
from edge_planning.sharing.entitlements import Entitlements
from edge_planning.sharing.holdings import Holdings, members_of
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.solving import share
from edge_planning.sharing.values import Tenant

ALONE = (Tenant("alone"),)


@dataclass(frozen=True, slots=True, eq=False)
class Guarantee:
    """A tenant's choices within its entitlement, and what they were made for.

    Attributes:
        part: The problem of the tenant's demands alone; its capacities are the entitlement.
        choices: [len(part)].
    """

    part: SharingProblem
    choices: Integers

    def holds_for(self, part: SharingProblem) -> bool:
        """Returns whether a problem is the same but for the candidates in use, which do not matter here."""
        mine = self.part
        return all(
            np.array_equal(getattr(mine, name), getattr(part, name))
            for name in ("capacity", "priority", "rows", "uses", "valid", "worth")
        )


def guarantees(
    problem: SharingProblem, entitled: Entitlements, previous: dict[str, Guarantee]
) -> dict[str, Guarantee]:
    """Returns the guarantee of each tenant that has demands, by name.

    Each is the fewest refusals within the entitlement, the highest priority first, then the most worth. It
    does not depend on the candidates in use.

    previous: Guarantees that are taken over where nothing changed.
    """
    found: dict[str, Guarantee] = {}
    for number, (tenant, members) in enumerate(zip(problem.tenants, members_of(problem), strict=True)):
        if len(members):
            part = _part(problem, members, entitled.nominal[number])
            old = previous.get(tenant.name)
            same = old is not None and old.holds_for(part)
            found[tenant.name] = old if old is not None and same else Guarantee(part, _choices(part))
    return found


def _part(problem: SharingProblem, members: Integers, entitlement: Floats) -> SharingProblem:
    return replace(
        replace(problem, names=None, options=None).of(members),
        tenants=ALONE,
        capacity=entitlement,
        tenant=np.zeros(len(members), dtype=np.int64),
        current=np.full(len(members), REFUSED, dtype=np.int64),
    )


def _choices(part: SharingProblem) -> Integers:
    fits = ((part.uses <= part.capacity[part.rows][:, :, None]) | (part.uses <= 0)).all(axis=1) & part.valid
    able = np.flatnonzero(fits.any(axis=1)).astype(np.int64)
    choice = np.full(len(part), REFUSED, dtype=np.int64)
    if len(able):
        choice[able] = share(_fitting(part.of(able), fits[able])).choices
    return _maximal(part, fits, choice)


def _fitting(part: SharingProblem, fits: Mask) -> SharingProblem:
    """Returns the problem of the candidates that fit, without the resources that none of them uses."""
    uses = np.where(fits[:, None, :], part.uses, 0.0)
    used = np.unique(part.rows[(uses > 0).any(axis=2)])
    if not len(used):
        used = np.zeros(1, dtype=np.int64)
    position = np.zeros(len(part.resources), dtype=np.int64)
    position[used] = np.arange(len(used))
    return replace(
        part,
        resources=tuple(part.resources[row] for row in used.tolist()),
        capacity=part.capacity[used],
        rows=position[part.rows],
        uses=uses,
        valid=fits,
        worth=np.where(fits, part.worth, 0.0),
        kinds=(),
    )


def _maximal(part: SharingProblem, fits: Mask, choice: Integers) -> Integers:
    """Returns a choice after all moves that make the tenant better off within its entitlement."""
    whole = part.capacity[None, :]
    limits = Entitlements(whole, whole, np.zeros_like(whole), np.ones(1), np.full(1, np.inf))
    holdings = Holdings(part, limits, fits, choice)
    while best := best_claim(holdings, 0):
        holdings.move(*best)
    return holdings.choices()


def best_claim(holdings: Holdings, tenant: int, demand: int | None = None) -> tuple[int, int] | None:
    """Returns the claim of a tenant with the most worth for the largest share of a resource, if any.

    Refused demands come first, those of the highest priority before others.

    demand: Only its claims count.
    """
    demands, options = holdings.claims(tenant, demand)
    if not len(demands):
        return None
    problem = holdings.problem
    now = np.array([holdings.choice[demand] for demand in demands.tolist()], dtype=np.int64)
    capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)[problem.rows[demands]]
    at = np.arange(len(demands))
    grown = (np.maximum(holdings.growth(demands, now)[at, :, options], 0.0) / capacity).max(axis=1)
    gained = holdings.gains(demands, now)[at, options]
    refused = now == REFUSED
    gained = np.where(refused, np.maximum(problem.worth[demands, options], 1e-12), gained)
    order = np.lexsort((grown / gained, -problem.priority[demands] * refused, ~refused))
    return int(demands[order[0]]), int(options[order[0]])
