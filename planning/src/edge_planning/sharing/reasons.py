"""Reasons why a demand was refused or has less than its best candidate."""

from dataclasses import dataclass

import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.allocations import loads
from edge_planning.sharing.arrays import REFUSED
from edge_planning.sharing.results import Shared


@dataclass(frozen=True, slots=True)
class DemandReason:
    """Why a demand was refused or stepped down.

    Attributes:
        resource: The binding resource.
        price: Utility of one unit of it.
        capacity: Total amount of it with which the demand could have `better` if all others stay.
    """

    demand: str
    got: str
    better: str
    resource: str
    price: float
    capacity: float
    message: str


def reason(shared: Shared, demand: int) -> DemandReason | None:
    """Returns the reason of one demand, or None if it has its best candidate."""
    problem = shared.problem
    require(0 <= demand < len(problem), f"unknown demand {demand}")
    got = int(shared.choices[demand])
    worth, rows = problem.worth[demand], problem.rows[demand]
    limit = problem.capacity[rows]
    scale = np.maximum(limit, 1e-300)
    valid = problem.valid[demand]
    if got == REFUSED:
        sizes = (problem.uses[demand] / scale[:, None]).sum(axis=0)
        better = int(np.where(valid, sizes, np.inf).argmin())
    else:
        better = int(np.where(valid, worth, -1.0).argmax())
        if worth[better] <= worth[got]:
            return None
    held = np.zeros(len(rows)) if got == REFUSED else problem.uses[demand, :, got]
    load = loads(shared.warm.frame, shared.choices)[rows] if shared.warm else np.zeros(len(rows))
    needed = load + problem.uses[demand, :, better] - held
    share = np.where(problem.uses[demand, :, better] > held, needed, 0.0) / scale
    slot = int(share.argmax())
    resource = problem.resources[int(rows[slot])]
    price, capacity = shared.prices[resource], float(needed[slot])
    name, wish = problem.demand_name(demand), problem.option_name(demand, better)
    have = problem.option_name(demand, got)
    if share[slot] > 1:
        why = f"{resource} is full: {capacity:.4g} would suffice, its capacity is {limit[slot]:.4g}"
    else:
        why = f"{resource} has a higher value for others, or the move costs more than it gains"
    message = f"{name}: {have} instead of {wish}: {why} (price {price:.3g})"
    return DemandReason(name, have, wish, resource, price, capacity, message)


def reasons(shared: Shared) -> tuple[DemandReason, ...]:
    """Returns the reasons of all demands that were refused or stepped down, refusals first."""
    order = [*shared.refused, *(n for n in range(len(shared.problem)) if shared.choices[n] != REFUSED)]
    found = (reason(shared, demand) for demand in order)
    return tuple(one for one in found if one is not None)
