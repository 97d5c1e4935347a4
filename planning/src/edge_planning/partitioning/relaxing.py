"""Lagrangian relaxation of memory limits and the bottleneck: with prices they are minimum cuts again."""

from dataclasses import replace

import numpy as np

from edge_planning.partitioning.flows import Floats, Ints
from edge_planning.partitioning.partitions import Partition, PartitionProblem
from edge_planning.partitioning.pricing import priced
from edge_planning.partitioning.series import cheapest, costs_of
from edge_planning.partitioning.sweeping import swept

ROUNDS = 60
CLOSE = 1e-6  # of the cost, at which a bound counts as reached


def relaxed(problem: PartitionProblem, seconds: Floats) -> tuple[Partition | None, float]:
    """Returns the best partition found that satisfies all limits, if any, and a lower bound for all.

    The search starts with the cuts between layers in their numbered order. Bytes over a tier's limit have a
    price. For the bottleneck each stage has a weight; the weights sum to 1. For any prices and weights the
    minimum weighted sum is a bound. Both are updated by subgradients. `seconds` [tiers, layers] are the
    problem's, infinite where a layer cannot run.
    """
    tiers = len(seconds)
    memory = np.zeros(seconds.shape[1]) if problem.memory is None else problem.memory
    limits = np.full(tiers, np.inf) if problem.limits is None else problem.limits
    limited = np.isfinite(limits)
    bottleneck = problem.objective == "bottleneck"
    weights = np.full(2 * tiers - 1, 1 / (2 * tiers - 1)) if bottleneck else np.ones(2 * tiers - 1)
    price = np.zeros(tiers)
    first = swept(problem, seconds)
    fits = first is not None and bool((np.bincount(first, memory, tiers) <= limits).all())
    best, bound = priced(problem, first) if first is not None and fits else None, 0.0
    for number in range(ROUNDS):
        weighed = np.where(np.isfinite(seconds), seconds * weights[:tiers, None], np.inf)
        weighed += price[:, None] * memory
        rates = problem.hop_seconds_per_byte * weights[tiers:]
        fixed = problem.hop_fixed * weights[tiers:]
        costs = costs_of(problem.structure, weighed, rates, fixed, returned=problem.returned)
        spread = cheapest(problem.structure, costs)
        level = spread.cost - spread.above - float(price[limited] @ limits[limited])
        bound = max(bound, level)
        used = np.bincount(spread.tiers, memory, tiers)
        found = priced(problem, spread.tiers)
        if (used <= limits).all() and (best is None or found.cost < best.cost):
            best = found
        if best is not None and bound >= best.cost * (1 - CLOSE):
            break
        over = np.where(limited, used - np.where(limited, limits, 0.0), 0.0)
        over = np.where((over < 0) & (price == 0), 0.0, over)
        steep = float(over @ over)
        if steep:
            aim = best.cost if best is not None else 1.05 * max(level, bound)
            price = np.maximum(price + over * max(aim - level, CLOSE * aim) / steep / (1 + number / 20), 0.0)
        elif not bottleneck:
            break
        if bottleneck:
            stages = _stages(problem, spread.tiers, found)
            weights = weights * np.exp(stages / max(stages.max(), 1e-300) / (1 + number) ** 0.5)
            weights /= weights.sum()
    return (None if best is None else replace(best, bound=min(bound, best.cost))), bound


def _stages(problem: PartitionProblem, labels: Ints, found: Partition) -> Floats:
    """Returns the seconds of each tier, then of each hop."""
    s, tiers = problem.structure, len(problem.seconds)
    size = dict(zip(s.tensors, s.size.tolist(), strict=True))
    compute = np.bincount(labels, problem.seconds[labels, np.arange(len(labels))], tiers)
    results = s.results[s.producer[s.results] >= 0]
    hops = []
    for hop, crossing in enumerate(found.crossing):
        back = s.size[results][labels[s.producer[results]] > hop].sum() * problem.returned
        moved = sum(size[name] for name in crossing) + float(back)
        opened = float((labels > hop).any()) * problem.hop_fixed[hop]
        hops.append(moved * problem.hop_seconds_per_byte[hop] + opened)
    return np.concatenate([compute, np.array(hops, dtype=float)])
