"""Plans again only the demands that a changed link or service affects."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from edge_planning.errors import require
from edge_planning.sharing.allocations import loads, utilities
from edge_planning.sharing.arrays import REFUSED, Floats, Integers
from edge_planning.sharing.frames import Frame, Proof, frame, program, weighed
from edge_planning.sharing.joint_choice import SharingProblem
from edge_planning.sharing.relaxation import WARM, relax
from edge_planning.sharing.results import Shared, Warm
from edge_planning.sharing.solving import finished, share


def replan_pool(
    problem: SharingProblem,
    previous: Shared,
    *,
    resources: Collection[str] = (),
    demands: Collection[int] = (),
    widening: float = 0.02,
) -> Shared:
    """Returns a plan after these resources' capacities or these demands changed (candidates, rate or tenant).

    The demands must be the same, and unchanged candidates must keep their positions. Only the changed demands
    and those that can use a changed resource are planned again, within the capacity that the others leave.
    The bound uses the previous prices, except that of a changed resource. If one of these demands would have
    to be refused, or the gap would widen by more than `widening`, everything is planned again from the
    previous plan. The distance of the utility to the bound is therefore at most the previous gap plus
    `widening`, or the gap of a full solve.

    A different capacity counts as changed even if it is not named. With other tenants or resources, or
    another number of demands or candidates, everything is planned again.

    Raises:
        BadValueError: A resource or a demand is unknown.
    """
    where = {name: index for index, name in enumerate(problem.resources)}
    for name in resources:
        require(name in where, f"unknown resource {name}")
    for demand in demands:
        require(0 <= demand < len(problem), f"unknown demand {demand}: there are {len(problem)}")
    warm, last = previous.warm, previous.problem
    if problem.worth.shape != last.worth.shape:
        return share(problem)
    if warm is None or problem.tenants != last.tenants or problem.resources != last.resources:
        return share(problem.with_current(previous.choices))
    named = np.isin(np.arange(len(where)), [where[name] for name in resources])
    changed = np.flatnonzero(named | (problem.capacity != last.capacity)).astype(np.int64)
    free = _touched(problem, changed, demands)
    framed = Frame(problem, warm.frame.references, warm.frame.scale, warm.frame.allowed)
    if (problem.capacity == 0).any() or (last.capacity == 0).any() or len(demands):
        framed = replace(frame(problem, framed.references), scale=framed.scale)
    if not len(free):
        return _joined(
            framed,
            previous,
            warm,
            free=free,
            choice=previous.choices[free],
            per_unit=warm.proof.price,
            changed=changed,
        )
    bare = replace(problem, names=None, options=None, current=previous.choices)
    before = _before(previous, warm, free)
    others_load = warm.load - loads(before, previous.choices[free])
    others_utility = warm.utility - utilities(before, previous.choices[free])
    part = replace(bare.of(free), capacity=np.maximum(problem.capacity - others_load, 0.0))
    small = replace(frame(part, framed.references), scale=framed.scale)
    if not small.servable:
        return share(problem.with_current(previous.choices), framed.references)
    floors = np.maximum(framed.floors(warm.floor) - others_utility, 0.0)
    start = np.concatenate((warm.proof.price * part.capacity, warm.proof.tenant_price * framed.scale))
    no = np.full(len(floors), False)
    found = relax(program(small, part.net, floors=floors, rises=no, penalty=None), start, WARM[1:2])
    count = len(problem.resources)
    per_unit = found.price[:count] / np.where(part.capacity > 0, part.capacity, 1.0)
    own = np.divide(found.price[count:], framed.scale, out=np.zeros_like(floors), where=framed.asking)
    table = weighed(small, part.net, per_unit, own)
    best = finished(small, _kept(small, part, table), table, floors)
    if (best.choice == REFUSED).any() or previous.refused:
        return share(problem.with_current(previous.choices), framed.references)
    joined = _joined(
        framed, previous, warm, free=free, choice=best.choice, per_unit=per_unit, changed=changed
    )
    if joined.gap > previous.gap + widening:
        return share(problem.with_current(previous.choices), framed.references)
    return joined


def _touched(problem: SharingProblem, changed: Integers, demands: Collection[int]) -> Integers:
    touched = np.zeros(len(problem), dtype=np.bool_)
    touched[list(demands)] = True
    for row in changed.tolist():
        who, slot = np.nonzero(problem.rows == row)
        touched[who[(problem.uses[who, slot] > 0).any(axis=1)]] = True
    return np.flatnonzero(touched).astype(np.int64)


def _before(previous: Shared, warm: Warm, free: Integers) -> Frame:
    bare = replace(previous.problem, names=None, options=None).of(free)
    return Frame(bare, warm.frame.references, warm.frame.scale, warm.frame.allowed[free])


def _kept(small: Frame, part: SharingProblem, table: Floats) -> Integers:
    now = np.maximum(part.current, 0)
    holds = small.allowed[np.arange(len(now)), now] & (part.current != REFUSED)
    return np.where(holds, now, table.argmax(axis=1)).astype(np.int64)


def _joined(
    framed: Frame,
    previous: Shared,
    warm: Warm,
    *,
    free: Integers,
    choice: Integers,
    per_unit: Floats,
    changed: Integers,
) -> Shared:
    """Returns the previous plan with new choices of some demands, and the bound for both together."""
    problem = framed.problem
    bare = replace(problem, names=None, options=None).of(free)
    small = Frame(bare, framed.references, framed.scale, framed.allowed[free])
    before = _before(previous, warm, free)
    old = previous.choices[free]
    price = warm.proof.price.copy()
    price[changed] = per_unit[changed]
    best = warm.proof.best.copy()
    total = warm.proof.total - float(best[free].sum()) - float(warm.proof.price @ previous.problem.capacity)
    best[free] = weighed(small, bare.worth, price, warm.proof.tenant_price).max(axis=1)
    total += float(best[free].sum()) + float(price @ problem.capacity)
    load = warm.load - loads(before, old) + loads(small, choice)
    utility = warm.utility - utilities(before, old) + utilities(small, choice)
    choices = previous.choices.copy()
    choices[free] = choice
    moved = int((choice != old).sum())
    cost = problem.move_cost * float((bare.importance * bare.rate)[choice != old].sum())
    reached = framed.level(utility)
    floor = min(warm.floor, reached)
    proven = Proof(price, warm.proof.tenant_price, best, total)
    own = np.divide(utility, framed.scale, out=np.ones_like(utility), where=framed.asking)
    net = float(utility.sum()) - cost
    return Shared(
        problem=replace(problem, current=previous.choices),
        choices=choices,
        refused=previous.refused,
        level=reached,
        level_bound=1.0,
        floor=floor,
        levels=dict(zip((one.name for one in problem.tenants), own.tolist(), strict=True)),
        utility=net,
        bound=total - float(proven.tenant_price @ framed.floors(floor)),
        prices=dict(zip(problem.resources, price.tolist(), strict=True)),
        moves=moved,
        certain_refusals=previous.certain_refusals,
        warm=Warm(framed, proven, load, utility, net, floor),
    )
