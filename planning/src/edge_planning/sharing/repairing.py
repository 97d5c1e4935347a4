"""Repairs a choice that nearly fits, with the lowest loss at the given prices.

After the repair, refused demands are admitted, tenants are raised to their floors, and moves that gain are
made. `table` [D, O] is the table of frames.weighed: the worth of a candidate minus its cost for the others.
Ties go to the lower index, so the same input has the same result.
"""

import numpy as np

from edge_planning.sharing.allocations import Allocation
from edge_planning.sharing.arrays import REFUSED, Floats

ROUNDS = 6
BATCH = 100
BATCHES = 60


def repair(allocation: Allocation, table: Floats) -> None:
    """Steps demands down until all resources fit; if needed, refuses some, the lowest priority first."""
    for guarded in (True, False):
        for _ in range(ROUNDS):
            rows = allocation.overfull()
            if not len(rows):
                return
            for row in rows.tolist():
                step_down(allocation, table, row, guarded=guarded)
    for row in allocation.overfull().tolist():
        _refuse(allocation, row)


def step_down(
    allocation: Allocation,
    table: Floats,
    row: int,
    need: float = 0.0,
    *,
    guarded: bool = True,
    spare: int = -1,
) -> bool:
    """Frees `need` of a resource by moving its users to other candidates, at the lowest loss per unit.

    No demand is refused, no other resource exceeds its capacity and, if guarded, no tenant falls below its
    floor. The demand `spare` keeps its candidate.
    """
    target = allocation.limit[row] - need
    if allocation.load[row] <= target:
        return True
    trial = (allocation.state, row, guarded, spare if spare >= 0 and allocation.choice[spare] >= 0 else -1)
    if target < allocation.lowest.get(trial, -np.inf):
        return False
    members, slots = allocation.members(row)
    now = allocation.choice[members]
    served = (now != REFUSED) & (members != spare)
    members, slots, now = members[served], slots[served], now[served]
    uses = allocation.problem.uses[members, slots]
    at = np.arange(len(members))
    relief = uses[at, now][:, None] - uses
    loss = table[members, now][:, None] - table[members]
    useful = (relief > 1e-9 * allocation.problem.capacity[row]) & allocation.fitting(members)
    lowest = allocation.load[row] - float(np.where(useful, relief, 0.0).max(axis=1, initial=0.0).sum())
    if lowest > target:
        allocation.lowest[trial] = lowest
        return False
    ratio = np.where(useful, loss / np.where(useful, relief, 1.0), np.inf)
    who, options = np.nonzero(useful)
    order = np.argsort(ratio[who, options], kind="stable")
    for index in order.tolist():
        demand, option = int(members[who[index]]), int(options[index])
        slot = int(slots[who[index]])
        have = allocation.use(demand, int(allocation.choice[demand]))[slot]
        if have <= allocation.use(demand, option)[slot] or not allocation.fits(demand, option):
            continue
        if guarded and not allocation.keeps_floor(demand, option):
            continue
        allocation.move(demand, option)
        if allocation.load[row] <= target:
            return True
    allocation.lowest[trial] = float(allocation.load[row])
    return False


def _refuse(allocation: Allocation, row: int) -> None:
    members, slots = allocation.members(row)
    while allocation.load[row] > allocation.limit[row]:
        now = allocation.choice[members]
        held = np.where(now == REFUSED, 0.0, allocation.problem.uses[members, slots, np.maximum(now, 0)])
        users = np.flatnonzero(held > 0)
        if not len(users):
            return
        order = np.lexsort((-held[users], allocation.problem.priority[members[users]]))
        allocation.move(int(members[users[order[0]]]), REFUSED)


def admit(allocation: Allocation, table: Floats) -> bool:
    """Admits refused demands if others can step down or lower priorities can be refused instead.

    An admission can free resources for other refused demands, so rounds repeat until one admits none. The
    loop terminates: each round serves more demands of some priority and no fewer of any higher one. Returns
    whether a demand was admitted.
    """
    served = False
    while _round(allocation, table):
        served = True
    return served


def _round(allocation: Allocation, table: Floats) -> bool:
    problem = allocation.problem
    waiting = np.flatnonzero(allocation.choice == REFUSED)
    order = np.lexsort((waiting, -problem.priority[waiting]))
    queue = waiting[order].tolist()
    served = False
    while queue:
        demand = int(queue.pop(0))
        if not _serve(allocation, table, demand):
            evicted = _evict(allocation, table, demand)
            queue = sorted(queue + evicted, key=lambda one: (-int(problem.priority[one]), one))
        served = served or allocation.choice[demand] != REFUSED
    return served


def _options(allocation: Allocation, table: Floats, demand: int) -> list[int]:
    order = np.argsort(-table[demand], kind="stable")
    return [int(option) for option in order if allocation.frame.allowed[demand, option]]


def _serve(allocation: Allocation, table: Floats, demand: int) -> bool:
    if _back(allocation, table, demand):
        return True
    options = _options(allocation, table, demand)
    for guarded in (True, False):
        for option in options:
            if make_room(allocation, table, demand, option, guarded=guarded):
                allocation.move(demand, option)
                return True
    return False


def make_room(allocation: Allocation, table: Floats, demand: int, option: int, *, guarded: bool) -> bool:
    """Steps other demands down until the candidate fits; undoes the moves if it cannot fit."""
    mark = len(allocation.journal)
    for row, excess in zip(
        allocation.problem.rows[demand].tolist(), allocation.over(demand, option).tolist(), strict=True
    ):
        if excess > 0:
            need = excess + allocation.limit[row] - allocation.load[row]
            if not step_down(allocation, table, row, need, guarded=guarded, spare=demand):
                allocation.take_back(mark)
                return False
    if allocation.fits(demand, option):
        return True
    allocation.take_back(mark)
    return False


def _evict(allocation: Allocation, table: Floats, demand: int) -> list[int]:
    """Refuses demands of lower priority, the lowest first, until one candidate fits; else changes nothing."""
    problem = allocation.problem
    winnable = allocation.winnable(demand)
    for option in _options(allocation, table, demand):
        if not winnable[option]:
            continue
        mark = len(allocation.journal)
        evicted: list[int] = []
        for row in problem.rows[demand].tolist():
            members, slots = allocation.members(row)
            now = allocation.choice[members]
            lower = (now != REFUSED) & (problem.priority[members] < problem.priority[demand])
            members, slots, now = members[lower], slots[lower], now[lower]
            held = problem.uses[members, slots, now]
            order = np.lexsort((-held, problem.priority[members]))
            for index in order.tolist():
                over = allocation.over(demand, option)[problem.rows[demand] == row]
                if (over <= 0).all():
                    break
                if held[index] > 0 and allocation.choice[members[index]] != REFUSED:
                    evicted.append(int(members[index]))
                    allocation.move(evicted[-1], REFUSED)
        if allocation.fits(demand, option):
            allocation.move(demand, option)
            return [one for one in evicted if not _back(allocation, table, one)]
        allocation.take_back(mark)
    return []


def _back(allocation: Allocation, table: Floats, demand: int) -> bool:
    """Takes the candidate that fits at the lowest loss, if there is one."""
    fits = allocation.fitting(np.array([demand]))[0]
    if not fits.any():
        return False
    allocation.move(demand, int(np.where(fits, table[demand], -np.inf).argmax()))
    return True


def raise_floors(allocation: Allocation, table: Floats, tries: int = 60) -> None:
    """Moves tenants below their floor to better candidates; others step down at the lowest loss if needed."""
    problem = allocation.problem
    for tenant in np.flatnonzero(allocation.utility < allocation.floors).tolist():
        members = np.flatnonzero((problem.tenant == tenant) & (allocation.choice != REFUSED))
        now = allocation.choice[members]
        gain = problem.worth[members] - problem.worth[members, now][:, None]
        loss = table[members, now][:, None] - table[members]
        useful = (gain > 0) & allocation.frame.allowed[members]
        who, options = np.nonzero(useful)
        order = np.argsort((loss[useful] / gain[useful]), kind="stable")
        for index in order[:tries].tolist():
            if allocation.utility[tenant] >= allocation.floors[tenant]:
                break
            demand, option = int(members[who[index]]), int(options[index])
            if allocation.worth(demand, option) <= allocation.worth(demand, int(allocation.choice[demand])):
                continue
            if allocation.fits(demand, option) or make_room(allocation, table, demand, option, guarded=True):
                allocation.move(demand, option)


def improve(allocation: Allocation, gain: Floats, table: Floats, least: float = 1e-9) -> None:
    """Makes moves that fit and raise the net utility, those with the lowest cost for others first.

    Works in batches: after each, moves that no longer fit are dropped.
    """
    demands = np.flatnonzero(allocation.choice != REFUSED)
    for _ in range(BATCHES):
        now = allocation.choice[demands]
        better = gain[demands] - np.take_along_axis(gain[demands], now[:, None], axis=1)
        useful = better > least
        some = np.flatnonzero(useful.any(axis=1))
        demands, now, better, useful = demands[some], now[some], better[some], useful[some]
        useful &= allocation.fitting(demands)
        some = np.flatnonzero(useful.any(axis=1))
        demands, now, better, useful = demands[some], now[some], better[some], useful[some]
        if not len(demands):
            return
        fall = np.take_along_axis(table[demands], now[:, None], axis=1) - table[demands]
        ratio = np.where(useful, fall / np.where(useful, better, 1.0), np.inf)
        best = ratio.argmin(axis=1)
        order = np.argsort(ratio[np.arange(len(demands)), best], kind="stable")
        moved = False
        for index in order[:BATCH].tolist():
            demand, option = int(demands[index]), int(best[index])
            if allocation.fits(demand, option) and allocation.keeps_floor(demand, option):
                allocation.move(demand, option)
                moved = True
        if not moved:
            demands = np.delete(demands, order[:BATCH])
