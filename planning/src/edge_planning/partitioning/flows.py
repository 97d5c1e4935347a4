"""Minimum cuts of flow networks: scipy's Dinic algorithm on integers, in passes of finer scale."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WHOLE = 2**29  # the largest flow; capacities reach twice that, so residual capacities fit into 32 bits
PASSES = 4


@dataclass(frozen=True, slots=True, eq=False)
class FlowNetwork:
    """Directed arcs, each with its reverse, in rows of tails. Node 0 is the source, node 1 the sink.

    Attributes:
        indptr, indices: The rows as in a CSR matrix.
        tails: Node by position.
        places: Position of each given arc.
    """

    nodes: int
    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    tails: Ints
    places: Ints


def network(nodes: int, tails: Ints, heads: Ints) -> FlowNetwork:
    """Returns the network of these arcs; parallel arcs are merged."""
    keys = np.concatenate([tails * nodes + heads, heads * nodes + tails])
    known, places = np.unique(keys, return_inverse=True)
    rows, columns = np.divmod(known, nodes)
    indptr = np.searchsorted(rows, np.arange(nodes + 1))
    return FlowNetwork(nodes, indptr.astype(np.int32), columns.astype(np.int32), rows, places[: len(tails)])


@dataclass(frozen=True, slots=True, eq=False)
class MinimumCut:
    """A minimum cut.

    Attributes:
        side: Whether a node is on the source side [nodes].
        flow: Size of the flow, a lower bound of the minimum cut.
        by_place: Flow of each arc.
        above: Maximum difference of this cut and the minimum cut.
    """

    side: Bools
    flow: float
    by_place: Floats
    above: float


def minimum_cut(net: FlowNetwork, capacity: Floats, most: float, error: float) -> MinimumCut:
    """Returns a minimum cut within `error`.

    Each pass rounds capacities down, so its flow is feasible; the next sends the remainder on a finer scale.
    `capacity` is by given arc. No minimum cut is larger than `most`, so an arc of twice that capacity is
    never cut.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    room = np.minimum(np.bincount(net.places, capacity, len(net.indices)), 2 * most)
    sent = np.zeros(len(room))
    side, flow, above = np.ones(net.nodes, dtype=bool), 0.0, most
    for _ in range(PASSES):
        unit = max(above, np.finfo(float).tiny) / WHOLE
        whole = np.minimum((room - sent) / unit, 2 * WHOLE).astype(np.int32)
        matrix = csr_array((whole, net.indices, net.indptr), shape=(net.nodes, net.nodes))
        pushed = maximum_flow(matrix, 0, 1, method="dinic").flow.data
        sent += pushed * unit
        side = _reached(net, whole > pushed)
        flow = float(sent[: net.indptr[1]].sum())
        above = max(float(room[side[net.tails] & ~side[net.indices]].sum()) - flow, 0.0)
        if above <= error:
            break
    return MinimumCut(side, flow, sent, above)


def _reached(net: FlowNetwork, open_: Bools) -> Bools:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    indptr = np.concatenate([[0], np.cumsum(open_)])[net.indptr].astype(np.int32)
    ones = np.ones(indptr[-1], np.int8)
    residual = csr_array((ones, net.indices[open_], indptr), shape=(net.nodes, net.nodes))
    side = np.zeros(net.nodes, dtype=bool)
    side[breadth_first_order(residual, 0, return_predecessors=False)] = True
    return side
