"""The best partition: minimum cuts where they are exact, HiGHS where memory or the bottleneck decides."""

import numpy as np

from edge_planning.partitioning.integers import by_integers
from edge_planning.partitioning.networks import lowest
from edge_planning.partitioning.pricing import priced
from edge_planning.partitioning.problems import Partition, PartitionProblem, Unpartitionable


def partition(problem: PartitionProblem, nodes: int = 10_000) -> Partition | Unpartitionable:
    """The partition of least cost. nodes: how far HiGHS may search before it reports a gap instead.

    Hops are used from the first on, so fixed costs are met exactly by one cut for each number of hops.
    """
    reasons = _reasons(problem)
    if reasons:
        return Unpartitionable(reasons)
    if problem.objective == "bottleneck":
        return by_integers(problem, nodes)
    tiers = len(problem.seconds)
    seconds = problem.seconds.copy()
    for layer, tier in problem.fixed.items():
        seconds[np.arange(tiers) != tier, layer] = np.inf
    fewest = max(problem.fixed.values(), default=0)
    found = []
    for hops in range(fewest if problem.hop_fixed.any() else tiers - 1, tiers):
        labels, missed = lowest(
            problem.structure, seconds[: hops + 1], problem.hop_seconds_per_byte[:hops], problem.returned
        )
        found.append((priced(problem, labels), labels, missed))
    if any(not np.isfinite(seconds[labels, np.arange(len(labels))]).all() for _, labels, _ in found):
        return Unpartitionable(("the layers' fixed tiers would send data back to an earlier tier",))
    best, labels, missed = min(found, key=lambda one: one[0].cost)
    if problem.memory is not None and problem.limits is not None:
        used = np.bincount(labels, problem.memory, tiers)
        if np.any(used > problem.limits):
            return by_integers(problem, nodes)
    bound = max(best.cost - missed, 0.0)
    return priced(problem, labels, bound)


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
