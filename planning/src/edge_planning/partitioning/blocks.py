"""A model as blocks in series, with one tensor between any two: the cut of a hop lies within one block."""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.partitioning.closures import Closures, closures_of
from edge_planning.partitioning.flows import Bools, Floats, Ints, minimum_cut, network

SMALL = 64  # layers of a block up to which a flow for its minimum crossing bytes pays off


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Arrays about the structure that do not depend on costs.

    Attributes:
        starts, last: First and last layer of each block.
        of_layer, of_tensor: The block of a layer and of a tensor's readers (-1: none).
        readers: Number of readers per tensor.
        inner: Whether the tensor of a (tensor, reader) pair is produced in its block; otherwise it enters.
        entering: Bytes into each block.
        least: Minimum bytes across a cut between the entering tensor and the block's last layer.
        closed: Whether all other layers of a block lead to its last layer.
        closures: All cuts of closed blocks with few cuts.
    """

    starts: Ints
    last: Ints
    of_layer: Ints
    of_tensor: Ints
    readers: Ints
    inner: Bools
    entering: Floats
    least: Floats
    closed: Bools
    closures: tuple[Closures | None, ...]


def blocks_of(count: int, size: Floats, producer: Ints, tensor_of: Ints, reader: Ints) -> Blocks:
    """Returns the blocks of `count` layers in topological order; arrays as in a Structure.

    A block ends where only one tensor is alive, if all layers before lead to it and all layers behind depend
    on it: every output of a layer before must have a reader, and every layer behind must read a tensor.
    """
    readers = np.bincount(tensor_of, minlength=len(size))
    until = producer.copy()
    np.maximum.at(until, tensor_of, reader)
    alive = np.zeros(count + 2, dtype=np.int64)  # at i: after layer i - 1
    np.add.at(alive, producer + 1, 1)
    np.add.at(alive, until + 1, -1)
    leads = np.zeros(count, dtype=bool)
    leads[producer[(readers > 0) & (producer >= 0)]] = True
    reads = np.zeros(count, dtype=bool)
    reads[reader] = True
    first = int(np.flatnonzero(~reads)[-1]) + 1 if not reads.all() else 1
    stop = int(np.argmin(leads)) if not leads.all() else count
    places = np.arange(first, stop + 1)
    ends = places[np.cumsum(alive)[places] == 1]
    starts = np.concatenate([[0], ends[ends < count]]).astype(np.int64)
    last = np.append(starts[1:], count) - 1
    of_layer = np.searchsorted(starts, np.arange(count), "right") - 1
    of_tensor = np.where(readers > 0, of_layer[np.clip(until, 0, count - 1)], -1)
    inner = producer[tensor_of] >= starts[of_layer[reader]]
    enters = (readers > 0) & (producer < starts[of_tensor])
    entering = np.bincount(of_tensor[enters], size[enters], len(starts)).astype(float)
    closed = np.ones(len(starts), dtype=bool)
    closed[-1] = stop >= count - 1
    lists = closures_of(starts.tolist(), last.tolist(), size, producer, tensor_of, reader)
    lists = tuple(one if known else None for one, known in zip(lists, closed.tolist(), strict=True))
    made = Blocks(starts, last, of_layer, of_tensor, readers, inner, entering, entering, closed, lists)
    return replace(made, least=_least(made, size, producer, tensor_of, reader))


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Arcs of the flow network of some blocks over hops, without the costs of the terminals.

    Attributes:
        layers, tensors: Those with nodes.
        tails, heads: Arcs. The first are one per hop and tensor of `paid`, in that order; the others are
            never cut.
    """

    layers: Ints
    tensors: Ints
    paid: Ints
    tails: Ints
    heads: Ints


def piece_of(
    blocks: Blocks, chosen: Bools, hops: int, base: int, *, producer: Ints, tensor_of: Ints, reader: Ints
) -> Piece:
    """Returns the flow network of the chosen blocks, nodes numbered from base: (hop, layers then tensors).

    Node (v, h) is on the source side if layer v runs before hop h. A tensor with several readers has its own
    node per hop, on the sink side if any reader is, so that it is paid once. This is the network of Ishikawa
    (PAMI 2003) with transfers between its rows.
    """
    rank = np.cumsum(chosen[blocks.of_layer]) - 1
    layers = np.flatnonzero(chosen[blocks.of_layer])
    read = (blocks.of_tensor >= 0) & chosen[blocks.of_tensor]
    shared = read & (blocks.readers > 1)
    tensors = np.flatnonzero(shared)
    node_of = len(layers) + np.cumsum(shared) - 1
    pairs = np.flatnonzero(chosen[blocks.of_layer[reader]])
    t, r, inner = tensor_of[pairs], rank[reader[pairs]], blocks.inner[pairs]
    maker = rank[producer[t]]
    many = shared[t]
    lone = pairs[~many]
    step = len(layers) + len(tensors)
    tails, heads, free_tails, free_heads = [], [], [], []
    enters = producer[tensors] < blocks.starts[blocks.of_tensor[tensors]]
    for h in range(hops):
        at = base + h * step
        tails += [np.where(inner[~many], at + maker[~many], 0)]
        heads += [at + r[~many]]
        tails += [np.where(enters, 0, at + rank[producer[tensors]])]
        heads += [at + node_of[tensors]]
        free_tails += [at + node_of[t[many]], at + r[inner]]
        free_heads += [at + r[many], at + maker[inner]]
    paid = np.concatenate([tensor_of[lone], tensors])
    return Piece(
        layers, tensors, paid, np.concatenate(tails + free_tails), np.concatenate(heads + free_heads)
    )


def _least(blocks: Blocks, size: Floats, producer: Ints, tensor_of: Ints, reader: Ints) -> Floats:
    """Returns bytes by block, from the lists of cuts or from one flow for all; 0 if not worth the time."""
    length = blocks.last - blocks.starts + 1
    least = np.where((length == 1) & blocks.closed, blocks.entering, 0.0)
    listed = np.array([one is not None for one in blocks.closures], dtype=bool)
    least[listed] = [one.crossing.min() for one in blocks.closures if one is not None]
    chosen = (length > 1) & (length <= SMALL) & blocks.closed & ~listed
    most = float(blocks.entering[chosen].sum())
    if not most:
        return least
    piece = piece_of(blocks, chosen, 1, 2, producer=producer, tensor_of=tensor_of, reader=reader)
    ends = 2 + np.searchsorted(piece.layers, blocks.last[chosen])
    net = network(
        2 + len(piece.layers) + len(piece.tensors),
        np.concatenate([piece.tails, ends]),
        np.concatenate([piece.heads, np.ones_like(ends)]),
    )
    capacity = np.full(len(piece.tails) + len(ends), 2 * most)
    capacity[: len(piece.paid)] = size[piece.paid]
    found = minimum_cut(net, capacity, most, most)  # one pass: rounding loses a fraction of a byte
    least[chosen] = found.by_place[net.places[len(piece.tails) :]]
    return least
