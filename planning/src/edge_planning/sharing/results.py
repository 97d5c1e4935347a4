"""The result of sharing a pool, with its bounds."""

from dataclasses import dataclass, field

import numpy as np

from edge_planning.sharing.arrays import REFUSED, Floats, Integers, sums
from edge_planning.sharing.frames import Frame, Proof
from edge_planning.sharing.joint_choice import SharingProblem


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """The state from which a later solve can start: prices, best scores (without moves), loads, floor."""

    frame: Frame
    proof: Proof
    load: Floats
    utility: Floats
    net: float
    floor: float


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """The plan of a pool.

    Attributes:
        choices: The candidate of each demand, or REFUSED [D].
        refused: Indices of refused demands.
        level: The lowest level of a tenant, at most 1.
        level_bound: Upper bound of the level without further refusals.
        floor: The level that every tenant has for certain.
        levels: By tenant's name, relative to its weight.
        utility: Total worth, net of moves.
        bound: Upper bound of the utility with the level `floor`.
        prices: Utility per unit of each resource.
        moves: Number of demands that changed their candidate.
        certain_refusals: Whether it is proven that some demand must be refused (False if none is refused).
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
    def dominant_shares(self) -> dict[str, float]:
        """Largest share of any one resource, by tenant (Ghodsi et al., NSDI 2011).

        For the status of tenants; no component reports it yet.
        """
        problem, choice = self.problem, self.choices
        served = np.flatnonzero(choice != REFUSED)
        resources, tenants = len(problem.resources), len(problem.tenants)
        cell = problem.tenant[served][:, None] * resources + problem.rows[served]
        taken = problem.uses[served, :, choice[served]]
        table = sums(cell, taken, resources * tenants).reshape(tenants, resources)
        capacity = np.where(problem.capacity > 0, problem.capacity, np.inf)
        largest = (table / capacity).max(axis=1).tolist()
        return dict(zip((tenant.name for tenant in problem.tenants), largest, strict=True))
