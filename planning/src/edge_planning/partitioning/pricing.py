"""The cost of given tiers, as plain floats."""

import numpy as np

from edge_planning.partitioning.partitions import Partition, PartitionProblem
from edge_planning.partitioning.structures import Ints


def priced(problem: PartitionProblem, tiers: Ints, bound: float = 0.0) -> Partition:
    """Returns the partition with these tiers [layers], with its cost computed from the tiers only."""
    structure = problem.structure
    made = np.where(structure.producer < 0, 0, tiers[structure.producer])
    read = made.copy()
    np.maximum.at(read, structure.tensor_of, tiers[structure.reader])
    compute = problem.seconds[tiers, np.arange(len(tiers))]
    back = np.zeros(len(made), dtype=bool)
    back[structure.results] = problem.returned
    crossing, hops = [], []
    for hop in range(len(problem.hop_fixed)):
        over = (made <= hop) & (read > hop)
        size = structure.size[over].sum() + structure.size[back & (made > hop)].sum()
        used = bool((tiers > hop).any())
        hops.append(float(size * problem.hop_seconds_per_byte[hop] + used * problem.hop_fixed[hop]))
        crossing.append(tuple(structure.tensors[t] for t in np.flatnonzero(over)))
    stages = np.bincount(tiers, compute, len(problem.seconds))
    if problem.objective == "latency":
        cost = float(compute.sum()) + sum(hops)
    else:
        cost = max([*stages.tolist(), *hops])
    return Partition(
        tuple(tiers.tolist()),
        tuple(crossing),
        cost,
        float(compute.sum()),
        sum(hops),
        min(bound, cost),
        bound >= cost * (1 - 1e-6),
    )
