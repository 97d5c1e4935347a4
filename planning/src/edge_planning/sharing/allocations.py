"""A choice under modification: the candidate of each demand, and the load on each resource."""

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask, sums
from edge_planning.sharing.frames import Frame

ROUNDING = 1e-9


class Allocation:
    """Mutable, used only within one solve. choice [D], load [R], utility [T]; moves can be undone."""

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
        """Returns the use of each of the demand's resources by a candidate [K]."""
        if option == REFUSED:
            return np.zeros(self.problem.rows.shape[1])
        return self.problem.uses[demand, :, option]

    def worth(self, demand: int, option: int) -> float:
        return 0.0 if option == REFUSED else float(self.problem.worth[demand, option])

    def move(self, demand: int, option: int) -> None:
        """Assigns another candidate to a demand."""
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
        members, slots = np.nonzero(self.problem.rows == row)
        return members.astype(np.int64), slots.astype(np.int64)

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
