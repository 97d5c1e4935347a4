"""Lends what is idle: the next move goes to the tenant that then has borrowed least for its weight.

What counts is the largest share of any one resource beyond the entitlement (dominant resource fairness,
Ghodsi et al., NSDI 2011). The tenants start from plans in which none lacks anything within its entitlement.

A move can free a resource that others then borrow. It is made only if the tenant has all that it could have
within its entitlement afterwards, so that this still holds at the end.
"""

import heapq
from collections.abc import Sequence
from math import inf
from typing import Protocol

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats
from edge_planning.sharing.guarantees import best_claim
from edge_planning.sharing.holdings import Holdings
from edge_planning.sharing.taking_back import taken_back

ATTEMPTS = 3
"""Candidates of a refused demand for which others of its tenant step down."""

Key = tuple[float, float]


def lend(holdings: Holdings) -> None:
    """Admits refused demands, then raises others to better candidates, as far as what is idle allows.

    Tenants of weight 0 are last in both steps. The steps repeat while moves free something. The loop
    terminates: each move serves one more demand, or serves as many with more worth.
    """
    weight = holdings.entitled.weight
    tiers = [np.flatnonzero(weight > 0).tolist(), np.flatnonzero(weight == 0).tolist()]
    size = _shares(holdings)
    while True:
        freed = False
        for tier in tiers:
            freed |= _filled(holdings, [_Waiting(holdings, tenant, size) for tenant in tier])
        for tier in tiers:
            freed |= _filled(holdings, [_Rising(holdings, tenant) for tenant in tier])
        if not freed:
            break
    _admit_at_the_expense_of_borrowers(holdings)


def _admit_at_the_expense_of_borrowers(holdings: Holdings) -> None:
    """Admits demands that fit but then claim what others borrow, which is taken back."""
    for demand in [one for one, now in enumerate(holdings.choice) if now == REFUSED]:
        mark = len(holdings.journal)
        options = np.flatnonzero(holdings.allowed[demand]).tolist()
        fitting = next((one for one in options if holdings.fits(demand, one)), None)
        if fitting is not None:
            holdings.move(demand, fitting)
            if not taken_back(holdings):
                holdings.undo(mark)


class _Queue(Protocol):
    """Moves that a tenant wants, in its own order."""

    tenant: int

    def key(self) -> Key | None:
        """Returns the place of the first move of another tenant, or None if no other tenant has a move."""

    def take(self) -> bool:
        """Tries the first move and removes it. Returns whether a move freed something."""


def _filled(holdings: Holdings, queues: Sequence[_Queue]) -> bool:
    """Tries the moves, the lowest key first. Returns whether a move freed something."""
    names = [one.name for one in holdings.problem.tenants]
    first = [(key, names[queue.tenant], at) for at, queue in enumerate(queues) if (key := queue.key())]
    heapq.heapify(first)
    freed = False
    while first:
        _, name, at = first[0]
        freed |= queues[at].take()
        key = queues[at].key()
        if key is None:
            heapq.heappop(first)
        else:
            heapq.heapreplace(first, (key, name, at))
    return freed


class _Waiting:
    """The refused demands of a tenant, the highest priority first, then the smallest."""

    def __init__(self, holdings: Holdings, tenant: int, size: Floats) -> None:
        self.holdings, self.tenant, self.size = holdings, tenant, size
        members = [one for one in holdings.members[tenant].tolist() if holdings.choice[one] == REFUSED]
        priority, least = holdings.problem.priority, size.min(axis=1)
        members.sort(key=lambda one: (-priority[one], least[one], one), reverse=True)
        self.waiting = members
        self.lacking: dict[int, float] = {}
        """By resource: amounts that the tenant's other demands cannot free."""

    def key(self) -> Key | None:
        holdings = self.holdings
        if not self.waiting:
            return None
        demand = self.waiting[-1]
        borrowed = holdings.borrowed_after(demand, int(self.size[demand].argmin()))
        priority = min(float(holdings.problem.priority[demand]), holdings.entitled.ceiling[self.tenant])
        return -priority, _fair(holdings, self.tenant, borrowed)

    def take(self) -> bool:
        holdings, demand = self.holdings, self.waiting.pop()
        order = np.argsort(self.size[demand], kind="stable").tolist()
        options = [one for one in order if holdings.allowed[demand, one]]
        options.sort(key=lambda one: holdings.worth(demand, one) <= 0)
        mark = len(holdings.journal)
        for option in options:
            if holdings.fits(demand, option):
                holdings.move(demand, option)
                if _claimed(holdings, self.tenant, demand):
                    self.lacking.clear()
                    return len(holdings.journal) > mark + 1
                holdings.undo(mark)
        return any(self._admitted(demand, option) for option in options[:ATTEMPTS])

    def _admitted(self, demand: int, option: int) -> bool:
        """Admits a demand if others of its tenant can step down for it; else changes nothing."""
        holdings = self.holdings
        excess = list(holdings.excess(demand, option))
        if any(missing >= self.lacking.get(row, inf) for row, missing in excess):
            return False
        mark = len(holdings.journal)
        for row, missing in excess:
            if not _stepped_down(holdings, demand, row, missing):
                holdings.undo(mark)
                self.lacking[row] = missing
                return False
        if holdings.fits(demand, option):
            holdings.move(demand, option)
            if _claimed(holdings, self.tenant):
                self.lacking.clear()
                return True
        holdings.undo(mark)
        return False


class _Rising:
    """The better candidates of a tenant's demands, those with the most worth for the largest share first."""

    def __init__(self, holdings: Holdings, tenant: int) -> None:
        self.holdings, self.tenant = holdings, tenant
        self.heap: list[tuple[float, int, int, int]] = []
        problem, members = holdings.problem, holdings.members[tenant]
        if not len(members):
            return
        now = np.array([holdings.choice[one] for one in members.tolist()], dtype=np.int64)
        capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)[problem.rows[members]]
        growth = holdings.growth(members, now)
        grown = np.maximum(growth / capacity[:, :, None], 0.0).max(axis=1)
        gain = holdings.gains(members, now)
        wanted = (gain > holdings.least[members][:, None]) & (now != REFUSED)[:, None]
        wanted &= holdings.fitting(tenant, members, growth)
        who, options = np.nonzero(wanted)
        ratio = grown[who, options] / gain[who, options]
        entries = (ratio.tolist(), members[who].tolist(), options.tolist(), now[who].tolist())
        self.heap = list(zip(*entries, strict=True))
        heapq.heapify(self.heap)

    def _add(self, demand: int) -> None:
        holdings = self.holdings
        now = holdings.choice[demand]
        if now == REFUSED:
            return
        have, capacity = holdings.worth(demand, now), holdings.problem.capacity
        least = max(float(holdings.least[demand]), 1e-9 * max(have, 1e-9))
        for option, worth in enumerate(holdings.problem.worth[demand].tolist()):
            if worth - have > least and holdings.allowed[demand, option]:
                grown = max(
                    (c / capacity[r] for r, c in holdings.changes(demand, option).items()), default=0.0
                )
                heapq.heappush(self.heap, (max(grown, 0.0) / (worth - have), demand, option, now))

    def key(self) -> Key | None:
        holdings = self.holdings
        while self.heap:
            _, demand, option, now = self.heap[0]
            if holdings.choice[demand] == now and holdings.fits(demand, option):
                return 0.0, _fair(holdings, self.tenant, holdings.borrowed_after(demand, option))
            heapq.heappop(self.heap)
        return None

    def take(self) -> bool:
        holdings = self.holdings
        _, demand, option, _ = heapq.heappop(self.heap)
        if not holdings.fits(demand, option):
            return False
        mark = len(holdings.journal)
        reduced = holdings.move(demand, option)
        # A move that only grows opens claims of no other demand, but the next candidates of its own can be.
        if not _claimed(holdings, self.tenant, None if reduced else demand):
            holdings.undo(mark)
            return False
        for moved, _ in holdings.journal[mark:]:
            self._add(moved)
        return reduced or len(holdings.journal) > mark + 1


def _claimed(holdings: Holdings, tenant: int, demand: int | None = None) -> bool:
    """Makes all moves, or those of one demand, that make a tenant better off within its entitlement.

    Returns False if one does not fit.
    """
    while claim := best_claim(holdings, tenant, demand):
        if not holdings.fits(*claim):
            return False
        if holdings.move(*claim):
            demand = None
    return True


def _stepped_down(holdings: Holdings, demand: int, row: int, missing: float) -> bool:
    """Frees an amount of a resource by moving the tenant's demands, those that lose least for it first."""
    problem = holdings.problem
    members = holdings.members[holdings.tenant(demand)]
    now = np.array([holdings.choice[one] for one in members.tolist()], dtype=np.int64)
    users, slots = np.nonzero(problem.rows[members] == row)
    served = now[users] != REFUSED
    users, slots = users[served], slots[served]
    growth = holdings.growth(members[users], now[users])
    relief = -growth[np.arange(len(users)), slots]
    useful = relief > 1e-9 * problem.capacity[row]
    useful &= holdings.fitting(holdings.tenant(demand), members[users], growth)
    if float(np.where(useful, relief, 0.0).max(axis=1, initial=0.0).sum()) < missing:
        return False
    worth = problem.worth[members[users]]
    loss = np.take_along_axis(worth, now[users][:, None], axis=1) - worth
    who, options = np.nonzero(useful)
    order = np.argsort(loss[who, options] / relief[who, options], kind="stable")
    relieved: dict[int, float] = {}
    for index in order.tolist():
        one, option = int(members[users[who[index]]]), int(options[index])
        more = float(relief[who[index], option]) - relieved.get(one, 0.0)
        if more <= 0 or not holdings.fits(one, option):
            continue
        holdings.move(one, option)
        relieved[one] = relieved.get(one, 0.0) + more
        missing -= more
        if missing <= 0:
            return True
    return False


def _fair(holdings: Holdings, tenant: int, borrowed: float) -> float:
    """Returns a borrowed share relative to the weight; weights of 0 are equal."""
    return borrowed / (float(holdings.entitled.weight[tenant]) or 1.0)


def _shares(holdings: Holdings) -> Floats:
    """Returns the largest share of a resource that each candidate uses; inf if it is not allowed [D, O]."""
    problem = holdings.problem
    capacity = np.where(problem.capacity > 0, problem.capacity, 1.0)
    largest = (problem.uses / capacity[problem.rows][:, :, None]).max(axis=1)
    return np.where(holdings.allowed, largest, np.inf)
