"""What the tenants of a pool hold while a plan is made, and what is left of every resource."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, Mask, sums
from edge_planning.sharing.entitlements import Entitlements
from edge_planning.sharing.joint_choice import SharingProblem

ROUNDING = 1e-9
"""Relative to a capacity."""

Uses = tuple[tuple[int, float], ...]


class Holdings:
    """Mutable, used only within one plan; moves can be undone.

    A move fits if the tenant remains within its borrowing limit, and the pool within its capacity: of what a
    tenant does not use, only what it lends counts as free.

    Attributes:
        choice: [D].
        least: Worth that a move of each demand must gain to count as better [D].
        use: Amount of each resource that each tenant uses [T][R].
        free: Amount of each resource that is neither used nor kept for its owner [R].
        borrowed: Largest share of a resource that each tenant uses beyond its entitlement [T].
        journal: Demands with their previous candidates, in the order of the moves.
    """

    def __init__(
        self,
        problem: SharingProblem,
        entitled: Entitlements,
        allowed: Mask,
        choice: Integers,
        least: Floats | None = None,
    ) -> None:
        self.problem, self.entitled, self.allowed = problem, entitled, allowed
        self.least = np.zeros(len(problem)) if least is None else least
        self.choice: list[int] = choice.tolist()
        used = uses_by_tenant(problem, choice)
        self.use: list[list[float]] = used.tolist()
        self.free: list[float] = (problem.capacity - np.maximum(used, entitled.kept).sum(axis=0)).tolist()
        self.journal: list[tuple[int, int]] = []
        self.members = members_of(problem)
        self._nominal: list[list[float]] = entitled.nominal.tolist()
        self._most: list[list[float]] = entitled.most.tolist()
        self._kept: list[list[float]] = entitled.kept.tolist()
        self._capacity: list[float] = problem.capacity.tolist()
        self._slack: list[float] = (ROUNDING * problem.capacity).tolist()
        self._tenant: list[int] = problem.tenant.tolist()
        self._sparse: dict[int, tuple[Uses, ...]] = {}
        self.borrowed = [self._borrowed(tenant) for tenant in range(len(self.use))]

    def tenant(self, demand: int) -> int:
        return self._tenant[demand]

    def uses(self, demand: int, option: int) -> Uses:
        """Returns the resources that a candidate uses, with the amounts."""
        if option == REFUSED:
            return ()
        if demand not in self._sparse:
            rows = self.problem.rows[demand].tolist()
            columns = self.problem.uses[demand].T.tolist()
            self._sparse[demand] = tuple(
                tuple((row, amount) for row, amount in zip(rows, column, strict=True) if amount > 0)
                for column in columns
            )
        return self._sparse[demand][option]

    def worth(self, demand: int, option: int) -> float:
        return 0.0 if option == REFUSED else float(self.problem.worth[demand, option])

    def changes(self, demand: int, option: int) -> dict[int, float]:
        """Returns how much more of each resource a demand would use with another candidate."""
        found = dict(self.uses(demand, option))
        for row, amount in self.uses(demand, self.choice[demand]):
            found[row] = found.get(row, 0.0) - amount
        return found

    def excess(self, demand: int, option: int) -> Iterator[tuple[int, float]]:
        """Yields the resources that do not suffice for a move, with the missing amounts."""
        tenant = self._tenant[demand]
        use, kept, most = self.use[tenant], self._kept[tenant], self._most[tenant]
        for row, change in self.changes(demand, option).items():
            if change <= self._slack[row]:
                continue
            after = use[row] + change
            grown = max(after, kept[row]) - max(use[row], kept[row])
            missing = max(after - most[row], grown - self.free[row])
            if missing > self._slack[row]:
                yield row, missing

    def fits(self, demand: int, option: int) -> bool:
        return next(self.excess(demand, option), None) is None

    def overfull(self) -> Iterator[tuple[int, float]]:
        """Yields the resources of which too much is used or kept, with the excess at that time."""
        for row, slack in enumerate(self._slack):
            if self.free[row] < -slack:
                yield row, -self.free[row]

    def above_limit(self, tenant: int) -> Iterator[tuple[int, float]]:
        """Yields the resources of which a tenant uses more than its borrowing limit allows."""
        for row, slack in enumerate(self._slack):
            if self.use[tenant][row] > self._most[tenant][row] + slack:
                yield row, self.use[tenant][row] - self._most[tenant][row]

    def move(self, demand: int, option: int) -> bool:
        """Gives a demand another candidate. Returns whether it then uses less of some resource."""
        tenant = self._tenant[demand]
        use, kept = self.use[tenant], self._kept[tenant]
        reduced = False
        for row, change in self.changes(demand, option).items():
            after = max(use[row] + change, 0.0)
            self.free[row] -= max(after, kept[row]) - max(use[row], kept[row])
            use[row] = after
            reduced |= change < -self._slack[row]
        self.journal.append((demand, self.choice[demand]))
        self.choice[demand] = option
        self.borrowed[tenant] = self._borrowed(tenant)
        return reduced

    def undo(self, mark: int) -> None:
        """Takes back all moves after a mark, a length of the journal."""
        while len(self.journal) > mark:
            demand, before = self.journal.pop()
            self.move(demand, before)
            self.journal.pop()

    def borrowed_after(self, demand: int, option: int) -> float:
        """Returns the tenant's largest borrowed share after a move, or more if the move frees something."""
        tenant = self._tenant[demand]
        use, nominal = self.use[tenant], self._nominal[tenant]
        most = self.borrowed[tenant]
        for row, change in self.changes(demand, option).items():
            if change > 0:
                most = max(most, (use[row] + change - nominal[row]) / self._capacity[row])
        return most

    def claims(self, tenant: int, demand: int | None = None) -> tuple[Integers, Integers]:
        """Returns the demands and candidates with which a tenant would be better off within its entitlement.

        demand: Returns only those of this demand.

        The moves grow only resources of which the tenant then uses no more than its entitlement. A refused
        demand is better off with any candidate, another one if its worth grows by more than `least`.
        """
        problem = self.problem
        members = self.members[tenant] if demand is None else np.array([demand], dtype=np.int64)
        if not len(members):
            return members, members
        now = np.array([self.choice[demand] for demand in members.tolist()], dtype=np.int64)
        growth = self.growth(members, now)
        rows = problem.rows[members]
        slack = ROUNDING * problem.capacity
        left = self.entitled.nominal[tenant] - np.array(self.use[tenant]) + slack
        within = ((growth <= left[rows][:, :, None]) | (growth <= slack[rows][:, :, None])).all(axis=1)
        within &= self.allowed[members]
        within &= self.gains(members, now) > self.least[members][:, None]
        who, options = np.nonzero(within)
        return members[who], options.astype(np.int64)

    def growth(self, demands: Integers, now: Integers) -> Floats:
        """Returns how much more of its resources each demand would use with each candidate [n, K, O]."""
        uses = self.problem.uses[demands]
        have = np.take_along_axis(uses, np.maximum(now, 0)[:, None, None], axis=2)
        return np.asarray(uses - have * (now != REFUSED)[:, None, None])

    def fitting(self, tenant: int, demands: Integers, growth: Floats) -> Mask:
        """Returns the mask of candidates that fit if all others stay, for demands of one tenant [n, O]."""
        use, kept = np.array(self.use[tenant]), self.entitled.kept[tenant]
        room = np.minimum(self.entitled.most[tenant] - use, np.array(self.free) + np.maximum(kept - use, 0.0))
        slack = ROUNDING * self.problem.capacity
        rows = self.problem.rows[demands]
        fits = (growth <= (room + slack)[rows][:, :, None]) | (growth <= slack[rows][:, :, None])
        return np.asarray(fits.all(axis=1) & self.allowed[demands])

    def gains(self, demands: Integers, now: Integers) -> Floats:
        """Returns the worth that each demand would gain with each candidate; inf if it is refused [n, O]."""
        worth = self.problem.worth[demands]
        have = np.take_along_axis(worth, np.maximum(now, 0)[:, None], axis=1)
        gain = np.where(worth - have > ROUNDING * np.maximum(have, ROUNDING), worth - have, 0.0)
        return np.where((now == REFUSED)[:, None], np.inf, gain)

    def choices(self) -> Integers:
        return np.array(self.choice, dtype=np.int64)

    def _borrowed(self, tenant: int) -> float:
        most = 0.0
        for used, nominal, capacity in zip(
            self.use[tenant], self._nominal[tenant], self._capacity, strict=True
        ):
            if used > nominal and used - nominal > ROUNDING * capacity:
                most = max(most, (used - nominal) / capacity)
        return most


def members_of(problem: SharingProblem) -> tuple[Integers, ...]:
    """Returns the demands of each tenant."""
    order = np.argsort(problem.tenant, kind="stable").astype(np.int64)
    edges = np.searchsorted(problem.tenant[order], np.arange(len(problem.tenants) + 1)).tolist()
    return tuple(order[start:end] for start, end in pairwise(edges))


def uses_by_tenant(problem: SharingProblem, choice: Integers) -> Floats:
    """Returns how much of each resource each tenant uses [T, R]."""
    served = np.flatnonzero(choice != REFUSED)
    resources, tenants = len(problem.resources), len(problem.tenants)
    cell = problem.tenant[served][:, None] * resources + problem.rows[served]
    taken = problem.uses[served, :, choice[served]]
    return sums(cell, taken, resources * tenants).reshape(tenants, resources)
