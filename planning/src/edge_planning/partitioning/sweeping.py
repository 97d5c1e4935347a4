"""Partitions that split the layers in their numbered order: all of them over one hop, a grid over several."""

from itertools import combinations_with_replacement
from math import comb

import numpy as np

from edge_planning.partitioning.flows import Floats, Ints
from edge_planning.partitioning.partitions import PartitionProblem

MOST = 200_000  # maximum number of combinations


def swept(problem: PartitionProblem, seconds: Floats) -> Ints | None:
    """Returns the tiers [layers] of the best such partition within all limits; inf seconds forbid a tier."""
    s, (tiers, count) = problem.structure, seconds.shape
    places = _places(problem, tiers - 1, count)
    if tiers == 3:
        rows = np.stack([places[i] for i in np.triu_indices(len(places))], axis=1)
    else:
        rows = np.array(list(combinations_with_replacement(places.tolist(), tiers - 1)), dtype=np.int64)
    edges = np.concatenate([np.zeros((len(rows), 1), np.int64), rows, np.full((len(rows), 1), count)], axis=1)
    compute = _between(np.where(np.isfinite(seconds), seconds, 0.0), edges)
    possible = ~(_between(np.where(np.isfinite(seconds), 0.0, 1.0), edges) > 0).any(axis=1)
    if problem.memory is not None and problem.limits is not None:
        used = _between(np.broadcast_to(problem.memory, seconds.shape), edges)
        possible &= (used <= problem.limits * (1 - 1e-12)).all(axis=1)
    if not possible.any():
        return None
    back = np.zeros(count + 1)
    if problem.returned:
        made = s.producer[s.results]
        np.add.at(back, made[made >= 0], s.size[s.results][made >= 0])
    moved = s.windows.alive + np.cumsum(back[::-1])[::-1]
    hops = moved[rows] * problem.hop_seconds_per_byte + (rows < count) * problem.hop_fixed
    stages = np.concatenate([compute, hops], axis=1)
    cost = stages.sum(axis=1) if problem.objective == "latency" else stages.max(axis=1)
    best = rows[int(np.argmin(np.where(possible, cost, np.inf)))]
    labels: Ints = (np.arange(count)[:, None] >= best).sum(axis=1)
    return labels


def _between(values: Floats, edges: Ints) -> Floats:
    """Returns the sums of each tier's row between two edges [rows, tiers]."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    found: Floats = np.stack([sums[i][edges[:, i + 1]] - sums[i][edges[:, i]] for i in range(len(values))], 1)
    return found


def _places(problem: PartitionProblem, hops: int, count: int) -> Ints:
    places: Ints = np.arange(count + 1)
    most = len(places)
    while hops and comb(most + hops - 1, hops) > MOST:
        most -= max(1, most // 20)
    if most < len(places):
        ends = np.append(problem.structure.blocks.starts, count)
        places = ends if len(ends) >= min(most, 50) else places
        places = places[np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(np.int64))]
    return places
