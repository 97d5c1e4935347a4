"""A choice under modification: the candidate of each demand, and the load on each resource."""

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask, sums
from edge_planning.sharing.frames import Frame

ROUNDING = 1e-9
LOOSE = 1e-6
"""Of limits where a sum of many moves must not exclude what fits."""


class Allocation:
    """Mutable, used only within one solve; moves can be undone.

    Attributes:
        choice: [D].
        load: Of each resource [R].
        utility: [T].
        lowest: Load of a resource that a step down has reached from a state, by what it tried
            (repairing.step_down); it depends on nothing else, since a solve has one table of losses.
        state: Number of the present choices; moves that are taken back restore it.
    """

    def __init__(self, frame: Frame, choice: Integers, floors: Floats) -> None:
        problem = frame.problem
        self.frame, self.problem = frame, problem
        self.choice = choice.copy()
        self.floors = floors
        self.limit = problem.capacity * (1 + ROUNDING)
        self.load = loads(frame, choice)
        self.utility = utilities(frame, choice)
        _, rank = np.unique(problem.priority, return_inverse=True)
        self._rank: Integers = rank.reshape(-1)
        self._ranked = _by_rank(frame, choice, self._rank)
        self._members: dict[int, tuple[Integers, Integers]] = {}
        self.journal: list[tuple[int, int, int]] = []
        self.lowest: dict[tuple[int, int, bool, int], float] = {}
        self.state = self._states = 0

    def use(self, demand: int, option: int) -> Floats:
        """Returns the use of each of the demand's resources by a candidate [K]."""
        if option == REFUSED:
            return np.zeros(self.problem.rows.shape[1])
        return self.problem.uses[demand, :, option]

    def worth(self, demand: int, option: int) -> float:
        return 0.0 if option == REFUSED else float(self.problem.worth[demand, option])

    def move(self, demand: int, option: int) -> None:
        """Assigns another candidate to a demand."""
        before = int(self.choice[demand])
        self.journal.append((demand, before, self.state))
        self._states += 1
        self.state = self._states
        change = self.use(demand, option) - self.use(demand, before)
        rows = self.problem.rows[demand]
        np.add.at(self.load, rows, change)
        np.add.at(self._ranked[self._rank[demand]], rows, change)
        self.utility[self.problem.tenant[demand]] += self.worth(demand, option) - self.worth(demand, before)
        self.choice[demand] = option

    def take_back(self, mark: int) -> None:
        """Undoes all moves after a mark (a length of the journal)."""
        while len(self.journal) > mark:
            demand, before, state = self.journal.pop()
            self.move(demand, before)
            self.journal.pop()
            self.state = state

    def over(self, demand: int, option: int) -> Floats:
        """Returns by how much the move would exceed each resource that it adds to [K]; <= 0 if it fits."""
        change = self.use(demand, option) - self.use(demand, int(self.choice[demand]))
        rows = self.problem.rows[demand]
        return np.where(change > 0, self.load[rows] + change - self.limit[rows], 0.0)

    def fits(self, demand: int, option: int) -> bool:
        return bool((self.over(demand, option) <= 0).all())

    def keeps_floor(self, demand: int, option: int) -> bool:
        """Returns whether the tenant is at its floor or above after the move, or loses no utility by it."""
        tenant = int(self.problem.tenant[demand])
        change = self.worth(demand, option) - self.worth(demand, int(self.choice[demand]))
        return change >= 0 or self.utility[tenant] + change >= self.floors[tenant]

    def overfull(self) -> Integers:
        """Returns the resources above their capacity, the worst first."""
        excess = (self.load - self.limit) / np.maximum(self.problem.capacity, 1e-300)
        rows = np.flatnonzero(self.load > self.limit)
        return rows[np.argsort(-excess[rows], kind="stable")]

    def members(self, row: int) -> tuple[Integers, Integers]:
        """Returns the demands whose candidates can use a resource, and the slot of the resource."""
        if row not in self._members:
            members, slots = np.nonzero(self.problem.rows == row)
            self._members[row] = members.astype(np.int64), slots.astype(np.int64)
        return self._members[row]

    def winnable(self, demand: int) -> Mask:
        """Returns the mask of candidates that could fit without the demands of lower priority [O]."""
        rows = self.problem.rows[demand]
        load = self._ranked[self._rank[demand] :, rows].sum(axis=0)
        limit, uses = self.limit[rows], self.problem.uses[demand]
        fits = (load[:, None] + uses <= (limit * (1 + LOOSE))[:, None]) | (uses <= 0)
        return np.asarray(fits.all(axis=0) & self.frame.allowed[demand])

    def fitting(self, demands: Integers) -> Mask:
        """Returns the mask of candidates that fit if all other demands stay [len(demands), O]."""
        problem = self.problem
        rows = problem.rows[demands]
        uses = problem.uses[demands]
        now = self.choice[demands]
        have = np.take_along_axis(uses, np.maximum(now, 0)[:, None, None], axis=2)
        have = have * (now != REFUSED)[:, None, None]
        room = (self.limit - self.load)[rows][:, :, None]
        fits = ((uses - have <= room) | (uses <= have)).all(axis=1)
        return np.asarray(fits & self.frame.allowed[demands])


def loads(frame: Frame, choice: Integers) -> Floats:
    """Returns the load of the choices on each resource [R]."""
    problem = frame.problem
    served = np.flatnonzero(choice != REFUSED)
    taken = problem.uses[served, :, choice[served]]
    return sums(problem.rows[served], taken, len(problem.resources))


def utilities(frame: Frame, choice: Integers) -> Floats:
    """Returns the worth of each tenant's choices [T]."""
    problem = frame.problem
    served = np.flatnonzero(choice != REFUSED)
    worth = problem.worth[served, choice[served]]
    return sums(problem.tenant[served], worth, len(problem.tenants))


def _by_rank(frame: Frame, choice: Integers, rank: Integers) -> Floats:
    """Returns the load on each resource by the demands of each priority, the lowest first [P, R]."""
    problem = frame.problem
    count = len(problem.resources)
    served = np.flatnonzero(choice != REFUSED)
    cell = rank[served][:, None] * count + problem.rows[served]
    ranks = int(rank.max(initial=0)) + 1
    return sums(cell, problem.uses[served, :, choice[served]], count * ranks).reshape(ranks, count)
