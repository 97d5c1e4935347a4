"""The best partition: minimum cuts where they are exact, HiGHS for memory limits and the bottleneck."""

from dataclasses import replace

import numpy as np

from edge_planning.partitioning.integers import by_integers
from edge_planning.partitioning.partitions import Partition, PartitionProblem, Unpartitionable
from edge_planning.partitioning.pricing import priced
from edge_planning.partitioning.relaxing import CLOSE, relaxed
from edge_planning.partitioning.series import cheapest, costs_of
from edge_planning.partitioning.structures import Ints

TOLERANCE = 2e-6  # of a limit; twice the tolerance of HiGHS


def partition(problem: PartitionProblem, nodes: int = 10_000) -> Partition | Unpartitionable:
    """Returns the partition of minimum cost.

    `nodes` limits the search of HiGHS in cases that minimum cuts do not prove; `bound` gives the remaining
    gap.
    """
    low, high = _allowed(problem)
    reasons = _reasons(problem, low, high)
    if reasons:
        return Unpartitionable(reasons)
    tiers = np.arange(len(problem.seconds))[:, None]
    seconds = np.where((tiers >= low) & (tiers <= high), problem.seconds, np.inf)
    if problem.objective == "latency":
        rates, fixed = problem.hop_seconds_per_byte, problem.hop_fixed
        costs = costs_of(problem.structure, seconds, rates, fixed, returned=problem.returned)
        spread = cheapest(problem.structure, costs)
        if _fits(problem, spread.tiers):
            return priced(problem, spread.tiers, max(spread.cost - spread.above, 0.0))
    known, bound = relaxed(problem, seconds)
    if known is not None and bound >= known.cost * (1 - CLOSE):
        return priced(problem, np.array(known.tier_of_layer), bound)
    searched = by_integers(problem, nodes) if nodes else None
    if isinstance(searched, Unpartitionable) and known is None:
        return searched
    if isinstance(searched, Partition):
        bound = max(bound, searched.bound)
        if not _fits(problem, np.array(searched.tier_of_layer)) and problem.limits is not None:
            # HiGHS satisfies limits only up to a tolerance.
            searched = by_integers(replace(problem, limits=problem.limits * (1 - TOLERANCE)), nodes)
    if isinstance(searched, Partition) and _fits(problem, np.array(searched.tier_of_layer)):
        known = searched if known is None or searched.cost < known.cost else known
    if known is None:
        return Unpartitionable(("the search ended before it found a partition",), proven=False)
    return priced(problem, np.array(known.tier_of_layer), bound)


def _fits(problem: PartitionProblem, tiers: Ints) -> bool:
    if problem.memory is None or problem.limits is None:
        return True
    used = np.bincount(tiers, problem.memory, len(problem.seconds))
    return bool((used <= problem.limits).all())


def _allowed(problem: PartitionProblem) -> tuple[Ints, Ints]:
    """Returns the first and the last allowed tier of each layer, given the fixed layers."""
    s = problem.structure
    low = np.zeros(len(s.layers), dtype=np.int64)
    high = np.full(len(s.layers), len(problem.seconds) - 1)
    if problem.fixed:
        for layer, tier in problem.fixed.items():
            low[layer] = high[layer] = tier
        made, read = s.producer[s.tensor_of], s.reader
        pairs = [(v, w) for v, w in zip(made.tolist(), read.tolist(), strict=True) if v >= 0]
        for v, w in sorted(pairs, key=lambda pair: pair[1]):
            low[w] = max(low[w], low[v])
        for v, w in sorted(pairs, key=lambda pair: -pair[0]):
            high[v] = min(high[v], high[w])
    return low, high


def _reasons(problem: PartitionProblem, low: Ints, high: Ints) -> tuple[str, ...]:
    """Returns reasons that exclude every partition, as far as fixed tiers and sums of memory show."""
    if (low > high).any():
        return ("the layers' fixed tiers would send data back to an earlier tier",)
    if problem.memory is None or problem.limits is None:
        return ()
    reasons, tiers = list[str](), len(problem.limits)
    for first in range(tiers):
        for last in range(first, tiers):
            inside = (low >= first) & (high <= last)
            lacking = problem.memory[inside].sum() - problem.limits[first : last + 1].sum()
            if lacking > 0:
                every = first == 0 and last == tiers - 1
                where = f"tier {first}" if first == last else f"tiers {first} to {last} together"
                what = (
                    ""
                    if every
                    else " for the layers fixed to it"
                    if first == last
                    else " for the layers fixed to them"
                )
                where = "all tiers together" if every and tiers > 1 else where
                lack = "lacks" if first == last else "lack"
                reasons.append(f"{where} {lack} {lacking:.0f} bytes of memory{what}")
    if not reasons:
        for layer in range(len(low)):
            room = float(problem.limits[low[layer] : high[layer] + 1].max())
            if problem.memory[layer] > room:
                lacking = problem.memory[layer] - room
                reasons.append(
                    f"layer {problem.structure.layers[layer]} lacks {lacking:.0f} bytes in every tier"
                )
    return tuple(reasons)
