"""The best partition: minimum cuts where they are exact, HiGHS where memory or the bottleneck decides."""

import numpy as np

from edge_planning.partitioning.integers import by_integers
from edge_planning.partitioning.pricing import priced
from edge_planning.partitioning.problems import Partition, PartitionProblem, Unpartitionable
from edge_planning.partitioning.series import cheapest, costs_of


def partition(problem: PartitionProblem, nodes: int = 10_000) -> Partition | Unpartitionable:
    """The partition of least cost. nodes: how far HiGHS may search before it reports a gap instead."""
    reasons = _reasons(problem)
    if reasons:
        return Unpartitionable(reasons)
    if problem.objective == "bottleneck":
        return by_integers(problem, nodes)
    tiers = len(problem.seconds)
    seconds = problem.seconds.copy()
    for layer, tier in problem.fixed.items():
        seconds[np.arange(tiers) != tier, layer] = np.inf
    costs = costs_of(
        problem.structure, seconds, problem.hop_seconds_per_byte, problem.hop_fixed, problem.returned
    )
    spread = cheapest(problem.structure, costs)
    if spread.cost >= costs.forbidden:
        return Unpartitionable(("the layers' fixed tiers would send data back to an earlier tier",))
    if problem.memory is not None and problem.limits is not None:
        used = np.bincount(spread.tiers, problem.memory, tiers)
        if np.any(used > problem.limits):
            return by_integers(problem, nodes)
    return priced(problem, spread.tiers, max(spread.cost - spread.above, 0.0))


def _reasons(problem: PartitionProblem) -> tuple[str, ...]:
    if problem.memory is None or problem.limits is None:
        return ()
    reasons = []
    for tier, limit in enumerate(problem.limits):
        held = sum(problem.memory[layer] for layer, at in problem.fixed.items() if at == tier)
        if held > limit:
            reasons.append(f"tier {tier} lacks {held - limit:.0f} bytes of memory for the layers fixed to it")
    lacking = problem.memory.sum() - problem.limits.sum()
    if lacking > 0:
        reasons.append(f"all tiers together lack {lacking:.0f} bytes of memory")
    return tuple(reasons)
