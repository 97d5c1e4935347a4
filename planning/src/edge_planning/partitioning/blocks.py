"""A network as blocks in series, one tensor between any two: a cut per hop lies within one block."""

from dataclasses import dataclass, replace

import numpy as np

from edge_planning.partitioning.closures import Closures, closures_of
from edge_planning.partitioning.flows import Bools, Floats, Ints, minimum_cut, network

SMALL = 64  # layers up to which a block's least crossing bytes are worth a flow of their own


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Arrays about the structure that do not depend on costs.

    starts, last: first and last layer of each block. of_layer, of_tensor: the block of a layer and of a
    tensor's readers (-1: none). readers: how many per tensor. inner: whether the tensor of a (tensor, reader)
    pair is made in its block; else it enters. entering: bytes into each block. least: bytes that at least
    cross when what enters is before a cut and the block's last layer behind it. closed: whether all other
    layers of a block lead to its last one. closures: all cuts of closed blocks that have few.
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
    """The blocks of `count` layers in topological order; arrays as in a Structure.

    A block ends where one tensor alone is alive, if all layers before lead to it and all behind depend on it:
    no layer before may make what nobody reads, and none behind may read nothing.
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
    """Arcs of the layered network of some blocks over hops, without terminals' costs.

    layers, tensors: those with nodes. tails, heads: arcs; the first are one per hop and tensor of `paid`, in
    that order; the others are never cut.
    """

    layers: Ints
    tensors: Ints
    paid: Ints
    tails: Ints
    heads: Ints


def piece_of(
    blocks: Blocks, chosen: Bools, hops: int, base: int, producer: Ints, tensor_of: Ints, reader: Ints
) -> Piece:
    """The network of the chosen blocks, its nodes numbered from base: (hop, layers then tensors).

    Node (v, h) is on the source's side when layer v runs before hop h. A tensor that several layers read has
    a node of its own per hop, on the sink's side when any reader is, so that it is paid once: the network of
    Ishikawa (PAMI 2003) with transfers between its rows.
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
    """Bytes by block, from the lists of cuts or from one flow for all; 0 where it is not worth the time."""
    length = blocks.last - blocks.starts + 1
    least = np.where((length == 1) & blocks.closed, blocks.entering, 0.0)
    listed = np.array([one is not None for one in blocks.closures], dtype=bool)
    least[listed] = [one.crossing.min() for one in blocks.closures if one is not None]
    chosen = (length > 1) & (length <= SMALL) & blocks.closed & ~listed
    most = float(blocks.entering[chosen].sum())
    if not most:
        return least
    piece = piece_of(blocks, chosen, 1, 2, producer, tensor_of, reader)
    ends = 2 + np.searchsorted(piece.layers, blocks.last[chosen])
    net = network(
        2 + len(piece.layers) + len(piece.tensors),
        np.concatenate([piece.tails, ends]),
        np.concatenate([piece.heads, np.ones_like(ends)]),
    )
    capacity = np.full(len(piece.tails) + len(ends), 2 * most)
    capacity[: len(piece.paid)] = size[piece.paid]
    found = minimum_cut(net, capacity, most, most)  # one pass: what rounding loses is a fraction of a byte
    least[chosen] = found.by_place[net.places[len(piece.tails) :]]
    return least
