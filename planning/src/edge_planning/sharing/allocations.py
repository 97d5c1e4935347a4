"""A choice under change: who has which option, and what that takes of each resource."""

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask, sums
from edge_planning.sharing.frames import Frame

ROUNDING = 1e-9


class Allocation:
    """Mutable, inside one solve only. choice [D], load [R], utility [T]; moves can be taken back."""

    def __init__(self, frame: Frame, choice: Integers, floors: Floats) -> None:
        problem = frame.problem
        self.frame, self.problem = frame, problem
        self.choice = choice.copy()
        self.floors = floors
        self.limit = problem.capacity * (1 + ROUNDING)
        self.load = loads(frame, choice)
        self.utility = utilities(frame, choice)
        self.journal: list[tuple[int, int]] = []

    def use(self, demand: int, option: int) -> Floats:
        """[K]: what the option takes of each of the demand's resources."""
        if option == REFUSED:
            return np.zeros(self.problem.rows.shape[1])
        return self.problem.uses[demand, :, option]

    def worth(self, demand: int, option: int) -> float:
        return 0.0 if option == REFUSED else float(self.problem.worth[demand, option])

    def move(self, demand: int, option: int) -> None:
        """Gives a demand another option."""
        before = int(self.choice[demand])
        self.journal.append((demand, before))
        change = self.use(demand, option) - self.use(demand, before)
        np.add.at(self.load, self.problem.rows[demand], change)
        self.utility[self.problem.tenant[demand]] += self.worth(demand, option) - self.worth(demand, before)
        self.choice[demand] = option

    def take_back(self, mark: int) -> None:
        """Undoes all moves after a mark (a length of the journal)."""
        while len(self.journal) > mark:
            demand, before = self.journal.pop()
            self.move(demand, before)
            self.journal.pop()

    def over(self, demand: int, option: int) -> Floats:
        """[K]: by how much each resource would be overfilled where this move adds to it; <= 0: it fits."""
        change = self.use(demand, option) - self.use(demand, int(self.choice[demand]))
        rows = self.problem.rows[demand]
        return np.where(change > 0, self.load[rows] + change - self.limit[rows], 0.0)

    def fits(self, demand: int, option: int) -> bool:
        return bool((self.over(demand, option) <= 0).all())

    def keeps_floor(self, demand: int, option: int) -> bool:
        """Whether the tenant still has what its level promises after the move (or loses nothing by it)."""
        tenant = int(self.problem.tenant[demand])
        change = self.worth(demand, option) - self.worth(demand, int(self.choice[demand]))
        return change >= 0 or self.utility[tenant] + change >= self.floors[tenant]

    def overfull(self) -> Integers:
        """Resources above their capacity, the worst first."""
        excess = (self.load - self.limit) / np.maximum(self.problem.capacity, 1e-300)
        rows = np.flatnonzero(self.load > self.limit)
        return rows[np.argsort(-excess[rows], kind="stable")]

    def members(self, row: int) -> tuple[Integers, Integers]:
        """Demands whose options may use a resource, and the slot in which they do."""
        members, slots = np.nonzero(self.problem.rows == row)
        return members.astype(np.int64), slots.astype(np.int64)

    def fitting(self, demands: Integers) -> Mask:
        """[len(demands), O]: options that fit, everything else staying."""
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
    """[R]: what choices take of each resource."""
    problem = frame.problem
    served = np.flatnonzero(choice != REFUSED)
    taken = problem.uses[served, :, choice[served]]
    return sums(problem.rows[served], taken, len(problem.resources))


def utilities(frame: Frame, choice: Integers) -> Floats:
    """[T]: the worth of each tenant's choices."""
    problem = frame.problem
    served = np.flatnonzero(choice != REFUSED)
    worth = problem.worth[served, choice[served]]
    return sums(problem.tenant[served], worth, len(problem.tenants))
