"""The layered network whose minimum cut is the partition (Ishikawa, PAMI 2003, over DADS' network).

Node (v, h) is on the source's side when layer v runs before hop h. A tensor read by several layers has a node
of its own per hop, on the sink's side when any reader is, so that it is paid once.
"""

import igraph
import numpy as np
from numpy.typing import NDArray

from edge_planning.partitioning.structures import Ints, Structure

SCALE = 2.0**42  # what all costs sum up to: sums of whole numbers stay below 2**53, so doubles add exactly


def network(structure: Structure, hops: int) -> tuple[igraph.Graph, Ints]:
    """The graph for a number of hops, kept in the structure, and the tensor of each transfer edge."""
    if hops not in structure.networks:
        structure.networks[hops] = _built(structure, hops)
    return structure.networks[hops]


def _built(structure: Structure, hops: int) -> tuple[igraph.Graph, Ints]:
    count, tensors = len(structure.layers), len(structure.tensors)
    step = count + tensors
    layer = np.arange(count)
    edges = [np.stack([np.full(count, 0), 2 + (hops - 1) * step + layer], 1)]
    edges += [np.stack([2 + h * step + layer, 2 + (h - 1) * step + layer], 1) for h in range(hops - 1, 0, -1)]
    edges += [np.stack([2 + layer, np.full(count, 1)], 1)]
    free: list[Ints] = []
    results = structure.results[structure.producer[structure.results] >= 0]
    back = []
    for h in range(hops):
        base = 2 + h * step
        node = base + count + np.arange(tensors)
        made = np.where(structure.producer < 0, 0, base + structure.producer)
        edges.append(np.stack([made, node], 1))
        back.append(np.stack([np.zeros_like(results), base + structure.producer[results]], 1))
        free.append(np.stack([node[structure.tensor_of], base + structure.reader], 1))
        inner = structure.producer[structure.tensor_of] >= 0
        free.append(np.stack([base + structure.reader, made[structure.tensor_of]], 1)[inner])
        if h:
            free.append(np.stack([base - step + layer, base + layer], 1))
    pairs = np.concatenate([*edges, *back, *free]).astype(np.int64)
    return igraph.Graph(2 + hops * step, pairs, directed=True), results


def lowest(
    structure: Structure, seconds: NDArray[np.float64], rates: NDArray[np.float64], returned: bool
) -> tuple[Ints, float]:
    """Tiers [layers] of least summed seconds, and by how much rounding may have missed; infinity forbids."""
    hops = len(rates)
    if not hops:
        return np.zeros(len(structure.layers), dtype=np.int64), 0.0
    graph, results = network(structure, hops)
    moved = (rates[:, None] * structure.size).ravel()
    back = (rates[:, None] * structure.size[results] * returned).ravel()
    costs = np.concatenate([seconds[::-1].ravel(), moved, back])
    finite = np.isfinite(costs)
    total = float(costs[finite].sum()) or 1.0
    whole = np.where(finite, np.rint(np.where(finite, costs, 0) * (SCALE / total)), 2 * SCALE)
    capacity = np.full(graph.ecount(), 2 * SCALE)
    capacity[: len(whole)] = whole
    sink = graph.st_mincut(0, 1, capacity.tolist()).partition[1]
    late = np.zeros(graph.vcount(), dtype=np.int64)
    late[sink] = 1
    step = len(structure.layers) + len(structure.tensors)
    sides = late[2:].reshape(hops, step)[:, : len(structure.layers)]
    tiers: Ints = sides.sum(axis=0)
    return tiers, len(whole) * total / SCALE
