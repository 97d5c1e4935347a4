"""What sharing decides, and why."""

from dataclasses import dataclass, field

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, sums
from edge_planning.sharing.frames import Frame, Proof
from edge_planning.sharing.problems import SharingProblem


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """What a later solve can start from: prices, each demand's best score (moves not counted), what holds."""

    frame: Frame
    proof: Proof
    load: Floats
    utility: Floats
    net: float
    floor: float


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """choices [D]: the option of each demand, or REFUSED. refused: indices of demands.

    levels: per tenant's name, relative to its weight. level: the lowest, at most 1.
    level_bound: no plan without further refusals has a higher one. utility: the total,
    net of moves. bound: no plan that holds the level `floor` has more. gap: (bound - utility) / bound;
    level_gap likewise. prices: utility per unit of each resource. moves: demands that changed.
    certain_refusals: whether it is proven that somebody must be refused (False where nobody is).
    """

    problem: SharingProblem
    choices: Integers
    refused: tuple[int, ...]
    level: float
    level_bound: float
    floor: float
    levels: dict[str, float]
    utility: float
    bound: float
    prices: dict[str, float]
    moves: int
    certain_refusals: bool = False
    warm: Warm | None = field(default=None, repr=False)

    @property
    def gap(self) -> float:
        return max(self.bound - self.utility, 0.0) / self.bound if self.bound > 0 else 0.0

    @property
    def level_gap(self) -> float:
        low = min(self.level, self.level_bound)
        return max(self.level_bound - low, 0.0) / self.level_bound if self.level_bound > 0 else 0.0

    @property
    def dominant_shares(self) -> dict[str, float]:
        """By tenant: the largest share of any one resource that it holds (Ghodsi et al., NSDI 2011)."""
        problem, choice = self.problem, self.choices
        served = np.flatnonzero(choice != REFUSED)
        resources, tenants = len(problem.resources), len(problem.tenants)
        cell = problem.tenant[served][:, None] * resources + problem.rows[served]
        taken = problem.uses[served, :, choice[served]]
        table = sums(cell, taken, resources * tenants).reshape(tenants, resources)
        capacity = np.where(problem.capacity > 0, problem.capacity, np.inf)
        largest = (table / capacity).max(axis=1).tolist()
        return dict(zip((tenant.name for tenant in problem.tenants), largest, strict=True))
