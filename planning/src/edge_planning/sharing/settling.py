"""Takes a new plan over from the one in use: few moves, within a budget, and without a way back.

The target does not depend on the plan in use, so it stays the same while demand does. Each step towards it
only removes differences, so no sequence of plans repeats.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers
from edge_planning.sharing.holdings import Holdings

SETTLE = 0.005
"""Relative gain of worth for which the plan in use is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """choices: [D]. spent: Moves for accuracy alone, which the budget limits."""

    choices: Integers
    spent: int


def settled(target: Holdings, budget: int | None) -> Settled:
    """Returns the choices to use next, given the candidates in use and a target that ignores them.

    The plan in use stays if it serves the same demands, fits, and no tenant gains much. Otherwise moves to
    the target are left out: those that gain less than they cost, and those beyond the budget, the smallest
    gains first. The budget does not limit admissions, moves that make room for others, moves of a tenant
    within its entitlement to a better candidate, and moves away from candidates that no longer exist.
    """
    problem = target.problem
    current = _usable(target)
    if (current == REFUSED).all():
        return Settled(target.choices(), 0)
    cost = problem.move_cost * problem.importance * problem.rate
    if _good_enough(target, current, cost):
        return Settled(current, 0)
    wanted = target.choices()
    gain = _gain(target, wanted, current)
    differing = np.flatnonzero((current != REFUSED) & (wanted != current))
    order = differing[np.argsort(gain[differing], kind="stable")].tolist()
    _undone(target, current, cost, [one for one in order if gain[one] <= cost[one]])
    owned = {one for one in order if gain[one] > cost[one] and _owned(target, one)}
    spending = [one for one in order if gain[one] > cost[one] and one not in owned]
    if budget is not None:
        _undone(target, current, cost, spending, len(spending) - budget)
        _undone(target, current, cost, [one for one in order if gain[one] <= cost[one]])
    spent = sum(target.choice[one] != current[one] for one in spending)
    return Settled(target.choices(), spent)


def _gain(target: Holdings, wanted: Integers, current: Integers) -> Floats:
    """Returns the worth that each demand gains by the target [D]."""
    worth = target.problem.worth
    at = np.arange(len(wanted))
    have = np.where(current == REFUSED, 0.0, worth[at, np.maximum(current, 0)])
    return np.asarray(np.where(wanted == REFUSED, 0.0, worth[at, np.maximum(wanted, 0)]) - have)


def _usable(target: Holdings) -> Integers:
    current = target.problem.current
    held = np.take_along_axis(target.allowed, np.maximum(current, 0)[:, None], axis=1)[:, 0]
    return np.where(held, current, REFUSED).astype(np.int64)


def _good_enough(target: Holdings, current: Integers, cost: Floats) -> bool:
    """Returns whether the plan in use fits, serves the same demands, and is nearly as good as the target."""
    problem, wanted = target.problem, target.choices()
    if ((current == REFUSED) != (wanted == REFUSED)).any():
        return False
    held = Holdings(problem, target.entitled, target.allowed, current)
    slack = 1e-9 * problem.capacity
    over = np.array(held.use) > target.entitled.most + slack
    if (np.array(held.free) < -slack).any() or over.any():
        return False
    gain = _gain(target, wanted, current)
    tenants = len(problem.tenants)
    before = np.bincount(problem.tenant, _worth(target, current), tenants)
    after = np.bincount(problem.tenant, _worth(target, wanted), tenants)
    if (before < (1 - problem.level_slack) * after).any() or gain.sum() > SETTLE * before.sum():
        return False
    return not any(len(held.claims(tenant, cost)[0]) for tenant in range(tenants))


def _worth(target: Holdings, choice: Integers) -> Floats:
    worth = target.problem.worth
    found = worth[np.arange(len(choice)), np.maximum(choice, 0)]
    return np.asarray(np.where(choice == REFUSED, 0.0, found))


def _owned(target: Holdings, demand: int) -> bool:
    """Returns whether a tenant uses no more than its entitlement of all that a demand uses."""
    tenant = target.tenant(demand)
    use, nominal = target.use[tenant], target.entitled.nominal[tenant]
    slack = 1e-9 * target.problem.capacity
    return all(use[row] <= nominal[row] + slack[row] for row, _ in target.uses(demand, target.choice[demand]))


def _undone(
    target: Holdings, current: Integers, cost: Floats, demands: list[int], most: int | None = None
) -> None:
    """Leaves demands at their candidates in use, at most so many, where that fits and denies no claim."""
    left = [one for one in demands if target.choice[one] != current[one]]
    most = len(left) if most is None else most
    while left and most > 0:
        stuck = []
        for demand in left:
            if most > 0 and _left(target, demand, int(current[demand]), cost):
                most -= 1
            else:
                stuck.append(demand)
        if len(stuck) == len(left):
            return
        left = stuck


def _left(target: Holdings, demand: int, option: int, cost: Floats) -> bool:
    if not target.fits(demand, option):
        return False
    mark = len(target.journal)
    target.move(demand, option)
    for claim in zip(*target.claims(target.tenant(demand), cost), strict=True):
        if not target.fits(int(claim[0]), int(claim[1])):
            target.undo(mark)
            return False
    return True
