"""Shares a pool: prices by the smoothed dual, a choice by rounding, and bounds for both.

The steps, in this order: necessary refusals; the level (weighted max-min over tenants); the utility net of
the cost of moves. docs/sharing.md documents the objective.
"""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.allocations import Allocation, loads, utilities
from edge_planning.sharing.arrays import REFUSED, Floats, Integers, sums
from edge_planning.sharing.frames import Frame, frame, level_bound, penalties, program, proof, weighed
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.relaxation import COLD, WARM, relax
from edge_planning.sharing.repairing import admit, improve, raise_floors, repair
from edge_planning.sharing.results import Shared, Warm

SAMPLE = 600
GOLDEN = 0.6180339887498949
SETTLE = 0.005
NONE: Integers = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """bound: Proven bound of the level. price: Of the linking rows. infeasible: Proven to need refusals."""

    bound: float
    price: Floats
    infeasible: bool


def share(problem: SharingProblem, references: Floats | None = None) -> Shared:
    """Returns one candidate for every demand, or refusal.

    `references` [T] are the utilities of level 1. Default: the tenants' own, otherwise the utility that each
    could have with the whole pool alone (references_of).
    """
    require(bool(len(problem)), "demands: the list is empty")
    for tenant in problem.tenants:
        plain = tenant.weight > 0 and not tenant.has_quota
        require(plain, f"tenant {tenant.name}: weight 0, quotas and ceilings need share_by_entitlement")
    framed = frame(problem, known_references(problem, references))
    level = find_level(framed, None) if framed.servable else None
    penalty = None
    if level is None or level.infeasible:
        penalty = penalties(framed)
        level = replace(find_level(framed, penalty), infeasible=True)
    target = (1 - problem.level_slack) * level.bound
    floors = framed.floors(target)
    prices, shares = _worth_prices(framed, floors, penalty)
    allocation = _rounded(framed, shares, prices, floors)
    allocation = _settled(framed, allocation, prices, floors)
    return concluded(framed, allocation, prices, level, target)


def known_references(problem: SharingProblem, given: Floats | None) -> Floats:
    """Returns the validated given references, or those of references_of [T]."""
    if given is None:
        return references_of(problem)
    good = given.shape == (len(problem.tenants),) and bool((np.isfinite(given) & (given >= 0)).all())
    require(good, f"references {given.tolist()} must be one finite number >= 0 per tenant")
    return given


def references_of(problem: SharingProblem) -> Floats:
    """Returns the tenants' own references, or the bound of the utility that each could have alone [T]."""
    found = np.zeros(len(problem.tenants))
    bare = replace(problem, names=None, options=None)
    order = np.argsort(problem.tenant, kind="stable")
    edges = np.searchsorted(problem.tenant[order], np.arange(len(problem.tenants) + 1))
    for number, tenant in enumerate(problem.tenants):
        if tenant.reference is not None:
            found[number] = tenant.reference
            continue
        demands = order[edges[number] : edges[number + 1]]
        if len(demands):
            found[number] = _alone(bare.of(demands))
    return found


def _alone(problem: SharingProblem) -> float:
    framed = frame(problem, np.zeros(len(problem.tenants)))
    best = np.where(framed.allowed, problem.worth, 0.0).argmax(axis=1)
    most = float(problem.worth.max(axis=1).sum())
    if framed.allowed.any(axis=1).all() and (loads(framed, best) <= problem.capacity).all():
        return most
    no = np.full(len(problem.tenants), False)
    zero = np.zeros(len(problem))  # refusal is allowed, with utility 0
    rough = relax(program(framed, problem.worth, floors=None, rises=no, penalty=zero))
    bound = proof(framed, problem.worth, rough.price, np.arange(len(problem)), fair=False).total
    return min(bound, most)  # also if nothing is worth anything: such a tenant has no level


def find_level(framed: Frame, penalty: Floats | None) -> Level:
    """Returns the bound of the level and the prices that prove it."""
    nothing = np.zeros_like(framed.problem.worth)
    rises = framed.asking
    if not rises.any():
        return Level(1.0, np.zeros(len(framed.problem.resources) + len(rises)), infeasible=False)
    start = None
    small = sampled(framed, SAMPLE)
    floors = np.zeros(len(rises))
    if small is not framed:
        thin = None if penalty is None else penalties(small)
        still = small.asking
        form = program(small, nothing[: len(small.problem)], floors=floors, rises=still, penalty=thin)
        start = relax(form, None, COLD[:-1]).price
    form = program(framed, nothing, floors=floors, rises=rises, penalty=penalty)
    price = relax(form, start, COLD if start is None else WARM[:1]).price
    refused = NONE if penalty is None else np.arange(len(framed.problem))
    proven = proof(framed, nothing, price, refused)
    return Level(level_bound(framed, proven), price, proven.total < 0)


def _worth_prices(framed: Frame, floors: Floats, penalty: Floats | None) -> tuple[Floats, Floats]:
    no = np.full(len(framed.references), False)
    start = None
    small = sampled(framed, SAMPLE)
    if small is not framed:
        part = np.divide(
            small.references, framed.references, out=np.zeros_like(floors), where=framed.references > 0
        )
        thin = None if penalty is None else penalties(small)
        start = relax(
            program(small, small.problem.net, floors=floors * part, rises=no, penalty=thin), None, COLD[:-1]
        ).price
    form = program(framed, framed.problem.net, floors=floors, rises=no, penalty=penalty)
    found = relax(form, start, COLD if start is None else WARM[:2])
    return found.price, found.shares


def sampled(framed: Frame, size: int) -> Frame:
    """Returns a frame of about `size` evenly spread demands, with capacities and references in proportion."""
    problem = framed.problem
    count = len(problem)
    if count <= 2 * size:
        return framed
    picked = np.unique((count * np.modf(np.arange(size) * GOLDEN)[0]).astype(np.int64))
    part = replace(problem, names=None, options=None).of(picked)
    resources, tenants = len(problem.resources), len(problem.tenants)

    def total(one: SharingProblem) -> Floats:
        return sums(one.rows, one.uses.sum(axis=2), resources)

    def owned(one: SharingProblem) -> Floats:
        return sums(one.tenant, one.worth.max(axis=1), tenants)

    share_of, share_to = total(part), owned(part)
    ratio = np.divide(share_of, total(problem), out=np.zeros(resources), where=share_of > 0)
    scaled = np.divide(share_to, owned(problem), out=np.zeros(tenants), where=share_to > 0)
    capacity = np.where(share_of > 0, problem.capacity * ratio, 1.0)
    return Frame(
        replace(part, capacity=capacity),
        framed.references * scaled,
        framed.scale * scaled,
        framed.allowed[picked],
    )


def _table(framed: Frame, prices: Floats) -> Floats:
    problem = framed.problem
    count = len(problem.resources)
    per_unit = prices[:count] / np.where(problem.capacity > 0, problem.capacity, 1.0)
    own = np.divide(prices[count:], framed.scale, out=np.zeros_like(framed.scale), where=framed.asking)
    return weighed(framed, problem.net, per_unit, own)


def _rounded(framed: Frame, shares: Floats, prices: Floats, floors: Floats) -> Allocation:
    width = framed.problem.worth.shape[1]
    choice = shares.argmax(axis=1)
    choice = np.where((choice >= width) | ~framed.allowed.any(axis=1), REFUSED, choice)
    return finished(framed, choice, _table(framed, prices), floors)


def finished(framed: Frame, choice: Integers, table: Floats, floors: Floats) -> Allocation:
    """Returns a choice that fits, after repair, admissions, floors and moves that gain."""
    allocation = Allocation(framed, choice, floors)
    repair(allocation, table)
    if (allocation.choice == REFUSED).any():
        admit(allocation, table)
    raise_floors(allocation, table)
    improve(allocation, framed.problem.net, table)
    if (allocation.choice == REFUSED).any():
        admit(allocation, table)  # the moves can have freed capacity
    return allocation


def _settled(framed: Frame, fresh: Allocation, prices: Floats, floors: Floats) -> Allocation:
    """Returns the current choice, repaired and improved, unless the new one is better by more than SETTLE."""
    problem = framed.problem
    if (problem.current == REFUSED).all():
        return fresh
    held = np.where(
        np.take_along_axis(framed.allowed, np.maximum(problem.current, 0)[:, None], axis=1)[:, 0],
        problem.current,
        REFUSED,
    )
    kept = finished(framed, held, _table(framed, prices), floors)
    if refusals(problem, kept.choice) != refusals(problem, fresh.choice):
        return kept if refusals(problem, kept.choice) < refusals(problem, fresh.choice) else fresh
    low, high = framed.level(kept.utility), framed.level(fresh.utility)
    if low < (1 - problem.level_slack) * high:
        return fresh
    gain = net_utility(problem, fresh.choice) - net_utility(problem, kept.choice)
    return fresh if gain > SETTLE * max(net_utility(problem, kept.choice), 0.0) else kept


def refusals(problem: SharingProblem, choice: Integers) -> tuple[int, ...]:
    """Returns the number of refusals per priority, the highest first: smaller is better."""
    refused = problem.priority[choice == REFUSED]
    return tuple(int((refused == priority).sum()) for priority in np.unique(problem.priority)[::-1])


def net_utility(problem: SharingProblem, choice: Integers) -> float:
    """Returns the total worth minus the cost of moves."""
    served = np.flatnonzero(choice != REFUSED)
    return float(problem.net[served, choice[served]].sum())


def concluded(framed: Frame, allocation: Allocation, prices: Floats, level: Level, target: float) -> Shared:
    """Returns the result of an allocation, with the bounds that the prices prove."""
    problem = framed.problem
    choice = allocation.choice
    refused = np.flatnonzero(choice == REFUSED)
    utility = utilities(framed, choice)
    reached = framed.level(utility)
    floor = min(target, reached)
    proven = proof(framed, problem.net, prices, refused)
    bound = proven.total - float(proven.tenant_price @ framed.floors(floor))
    plain = proven if problem.net is problem.worth else proof(framed, problem.worth, prices, refused)
    net = net_utility(problem, choice)
    load = loads(framed, choice)
    names = [tenant.name for tenant in problem.tenants]
    own = np.divide(utility, framed.scale, out=np.ones_like(utility), where=framed.asking)
    moved = (choice != problem.current) & (problem.current != REFUSED)
    return Shared(
        problem=problem,
        choices=choice.copy(),
        refused=tuple(int(one) for one in refused),
        level=reached,
        level_bound=max(level.bound, reached),
        floor=floor,
        levels=dict(zip(names, own.tolist(), strict=True)),
        utility=net,
        bound=bound,
        prices=dict(zip(problem.resources, proven.price.tolist(), strict=True)),
        moves=int(moved.sum()),
        certain_refusals=level.infeasible,
        warm=Warm(framed, plain, load, utility, net, floor),
    )
