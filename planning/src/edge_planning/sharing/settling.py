"""Keeps the plan in use where it can: few moves, within a budget, and without a way back.

The target does not depend on the plan in use, so it stays the same while demand does. A plan that is kept
once passes the same test again, and each other step only removes differences from a fixed plan: no sequence
of plans repeats.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask, sums
from edge_planning.sharing.holdings import ROUNDING, Holdings
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.lending import lend
from edge_planning.sharing.taking_back import taken_back

WORTH = 0.01
"""Relative gain of worth for which the plan in use is left."""
OWN_WORTH = 0.05
"""The same for a single tenant."""
REFUSALS = 0.01
"""Fall of the refused part of the requests, as a mean over tenants, for which the plan in use is left."""

ATTEMPTS = 4
"""To keep the plan in use."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """choices: [D]. spent: Moves for accuracy alone, as the budget allows. waiting: Demands of the others."""

    choices: Integers
    spent: int
    waiting: tuple[int, ...] = ()


def settled(target: Holdings, guaranteed: Integers, budget: int | None) -> Settled:
    """Returns the choices to use next, given the candidates in use and a target that ignores them.

    The plan in use stays where it can: as it is after lent capacity is taken back, or with what is then idle
    lent again, or with the choices of the target for some tenants. The first of these is taken with which
    every tenant has its guarantee, and the target has neither much fewer refusals nor much more worth.

    If no plan qualifies, the target is taken, without the moves that gain less than they cost and those
    beyond the budget, the smallest gains first. The budget does not limit admissions, moves that make
    room for others, moves of a tenant within its entitlement to a better candidate, and moves away from
    candidates that no longer exist.
    """
    problem = target.problem
    current = _usable(target)
    if (current == REFUSED).all():
        return Settled(target.choices(), 0)
    cost = problem.move_cost * problem.importance * problem.rate
    start = current
    for attempt in range(ATTEMPTS):
        plan = Holdings(problem, target.entitled, target.allowed, start, cost)
        if not taken_back(plan):
            break
        if attempt == 0 and not _lacking(target, plan, guaranteed).any():
            return Settled(plan.choices(), 0)
        lend(plan)
        lacking = _lacking(target, plan, guaranteed)
        if not lacking.any():
            return _within(plan, current, budget)
        start = np.where(lacking[problem.tenant], target.choices(), plan.choices())
    plan = Holdings(problem, target.entitled, target.allowed, target.choices(), cost)
    return _within(plan, current, budget)


def _within(plan: Holdings, current: Integers, budget: int | None) -> Settled:
    """Returns a plan without the moves that are not worth it or beyond the budget."""
    cost = plan.least
    gain = _gain(plan, current)
    differing = np.flatnonzero((current != REFUSED) & (plan.choices() != current))
    order = differing[np.argsort(gain[differing], kind="stable")].tolist()
    small = [one for one in order if gain[one] <= cost[one]]
    spending = _spending(plan, current)
    _undone(plan, current, small)
    if budget is not None:
        _undone(plan, current, spending, len(spending) - budget)
        _undone(plan, current, small)
    spent = sum(plan.choice[one] != int(current[one]) for one in spending)
    if budget is None:
        return Settled(plan.choices(), spent)
    waiting = tuple(one for one in spending if plan.choice[one] == int(current[one]))
    # Beyond the budget, only moves remain that make room or that a claim needs.
    return Settled(plan.choices(), min(spent, budget), waiting)


def _spending(plan: Holdings, current: Integers) -> list[int]:
    """Returns the moves from the candidates in use that the budget limits, the smallest gains first."""
    gain = _gain(plan, current)
    moved = np.flatnonzero((current != REFUSED) & (plan.choices() != current) & (gain > plan.least))
    order = moved[np.argsort(gain[moved], kind="stable")].tolist()
    return [one for one in order if not _owned(plan, one)]


def _gain(plan: Holdings, current: Integers) -> Floats:
    """Returns the worth that each demand gains by a plan [D]."""
    return _worth(plan, plan.choices()) - _worth(plan, current)


def _usable(target: Holdings) -> Integers:
    current = target.problem.current
    held = np.take_along_axis(target.allowed, np.maximum(current, 0)[:, None], axis=1)[:, 0]
    return np.where(held, current, REFUSED).astype(np.int64)


def _lacking(target: Holdings, plan: Holdings, guaranteed: Integers) -> Mask:
    """Returns the mask of tenants without their guarantee, or with much less than in the target [T].

    If all of them together have much less, it contains those that have less than in the target.
    """
    problem = target.problem
    chosen, wanted = plan.choices(), target.choices()
    refused, own, least = (_refused(problem, one) for one in (chosen, guaranteed, wanted))
    worth, most = _worths(plan, chosen), _worths(plan, wanted)
    denied = refused > own + ROUNDING
    denied |= (refused >= own - ROUNDING) & (worth < (1 - WORTH) * _worths(plan, guaranteed))
    found = denied | (worth < (1 - OWN_WORTH) * most)
    if refused.mean() > least.mean() + REFUSALS:
        found |= refused > least + ROUNDING
    if worth.sum() < (1 - WORTH) * most.sum():
        found |= worth < most * (1 - ROUNDING)
    return np.asarray(found)


def _refused(problem: SharingProblem, choice: Integers) -> Floats:
    """Returns the part of each tenant's requests that is refused, weighted by priority [T]."""
    size = problem.importance * problem.rate
    tenants = len(problem.tenants)
    total = np.bincount(problem.tenant, size, tenants)
    refused = np.bincount(problem.tenant, size * (choice == REFUSED), tenants)
    return np.divide(refused, total, out=np.zeros(tenants), where=total > 0)


def _worths(plan: Holdings, choice: Integers) -> Floats:
    """Returns the worth of each tenant's choices [T]."""
    problem = plan.problem
    return sums(problem.tenant, _worth(plan, choice), len(problem.tenants))


def _worth(plan: Holdings, choice: Integers) -> Floats:
    worth = plan.problem.worth
    found = worth[np.arange(len(choice)), np.maximum(choice, 0)]
    return np.asarray(np.where(choice == REFUSED, 0.0, found))


def _owned(plan: Holdings, demand: int) -> bool:
    """Returns whether a tenant uses no more than its entitlement of all that a demand uses."""
    tenant = plan.tenant(demand)
    use, nominal = plan.use[tenant], plan.entitled.nominal[tenant]
    slack = 1e-9 * plan.problem.capacity
    return all(use[row] <= nominal[row] + slack[row] for row, _ in plan.uses(demand, plan.choice[demand]))


def _undone(plan: Holdings, current: Integers, demands: list[int], most: int | None = None) -> None:
    """Leaves demands at their candidates in use, at most so many, where it fits and opens no claim."""
    left = [one for one in demands if plan.choice[one] != current[one]]
    most = len(left) if most is None else most
    while left and most > 0:
        stuck = []
        for demand in left:
            if most > 0 and _left(plan, demand, int(current[demand])):
                most -= 1
            else:
                stuck.append(demand)
        if len(stuck) == len(left):
            return
        left = stuck


def _left(plan: Holdings, demand: int, option: int) -> bool:
    if not plan.fits(demand, option):
        return False
    mark = len(plan.journal)
    plan.move(demand, option)
    if len(plan.claims(plan.tenant(demand))[0]):
        plan.undo(mark)
        return False
    return True
