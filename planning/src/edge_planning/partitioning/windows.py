"""Overlapping windows of a large block, so that every cut over one hop lies within one of them."""

from dataclasses import dataclass

import numpy as np

from edge_planning.partitioning.blocks import SMALL, Blocks
from edge_planning.partitioning.flows import Bools, Floats, Ints, minimum_cut, network


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Layers first to stop - 1 are free; earlier layers are before the cut, later ones behind it.

    Attributes:
        block, first, stop: [windows].
        least: Minimum bytes across any cut within the window.
        until: Last reader of a tensor [tensors].
        alive: Bytes alive after the first i layers [layers + 1].
    """

    block: Ints
    first: Ints
    stop: Ints
    least: Floats
    until: Ints
    alive: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """The flow network of one window, its layers numbered from base, followed by tensors.

    Attributes:
        paid: Tensors, one for each of the first arcs; the other arcs are never cut.
        passing: Bytes that cross all its cuts.
    """

    nodes: int
    paid: Ints
    tails: Ints
    heads: Ints
    passing: float


def windows_of(blocks: Blocks, size: Floats, producer: Ints, tensor_of: Ints, reader: Ints) -> Windows:
    """Returns the windows of all large blocks.

    If v is the first late layer of a cut, all layers that depend on v are behind the cut: every layer from
    some number. A window up to the largest such number of some layers contains all cuts that start with one
    of them.
    """
    count = len(blocks.of_layer)
    until = producer.copy()
    np.maximum.at(until, tensor_of, reader)
    change = np.zeros(count + 2)
    np.add.at(change, producer + 1, size)
    np.subtract.at(change, until + 1, size)
    alive = np.maximum(np.cumsum(change)[: count + 1], 0.0)
    rows = list[tuple[int, int, int]]()
    large = np.flatnonzero(blocks.last - blocks.starts >= SMALL)
    for block in large.tolist():
        start, last = int(blocks.starts[block]), int(blocks.last[block])
        ends = _certain(start, last, producer, tensor_of, reader)
        width = int((ends - np.arange(start, last + 1)).max())
        stride = max(SMALL, width)
        for first in range(start, last + 1, stride):
            stop = int(ends[first - start : first - start + stride].max())
            most = last if blocks.closed[block] else last + 1
            rows.append((block, first, min(max(stop, first), most)))
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    made = Windows(table[:, 0], table[:, 1], table[:, 2], np.zeros(len(table)), until, alive)
    least = _least(made, size, producer, tensor_of, reader)
    return Windows(made.block, made.first, made.stop, least, until, alive)


def _certain(start: int, last: int, producer: Ints, tensor_of: Ints, reader: Ints) -> Ints:
    """Returns for each layer of the block the number from which all layers depend on it."""
    behind = [1 << v for v in range(last - start + 1)]
    made = producer[tensor_of]
    mine = (made >= start) & (reader <= last)
    order = np.argsort(-reader[mine], kind="stable")
    for v, w in zip(
        (made[mine][order] - start).tolist(), (reader[mine][order] - start).tolist(), strict=True
    ):
        behind[v] |= behind[w]
    every = (1 << (last - start + 1)) - 1
    return np.array([start + (every ^ bits).bit_length() for bits in behind], dtype=np.int64)


def pane_of(
    windows: Windows, number: int, base: int, size: Floats, *, producer: Ints, tensor_of: Ints, reader: Ints
) -> Pane:
    """Returns the flow network of a window; tensors are priced as in blocks.piece_of."""
    first, stop, until = int(windows.first[number]), int(windows.stop[number]), windows.until
    passing = float(size[(producer < first) & (until >= stop) & (until > producer)].sum())
    within = (
        (producer < stop) & (until >= first) & (until > producer) & ((producer >= first) | (until < stop))
    )
    tensors = np.flatnonzero(within)
    shared = base + stop - first + np.arange(len(tensors))
    beyond = until[tensors] >= stop
    makers = np.where(producer >= first, base + producer - first, 0)
    pairs = within[tensor_of] & (reader < stop) & (reader >= first)
    t, r = tensor_of[pairs], base + reader[pairs] - first
    node_of = np.zeros(len(size), dtype=np.int64)
    node_of[tensors] = shared
    alone = np.bincount(t, minlength=len(size))[t] == 1
    node_of[t[alone]] = r[alone]
    node_of[tensors[beyond]] = 1
    inner, many = producer[t] >= first, ~alone & (until[t] < stop)
    return Pane(
        stop - first + len(tensors),
        tensors,
        np.concatenate([makers[tensors], node_of[t[many]], r[inner]]),
        np.concatenate([node_of[tensors], r[many], makers[t[inner]]]),
        passing,
    )


def _least(windows: Windows, size: Floats, producer: Ints, tensor_of: Ints, reader: Ints) -> Floats:
    """Returns bytes by window from one flow for all: each window has its own part of the sink's arcs."""
    nodes, panes, bases = 2, list[Pane](), list[int]()
    for number in range(len(windows.first)):
        panes.append(
            pane_of(windows, number, nodes + 1, size, producer=producer, tensor_of=tensor_of, reader=reader)
        )
        bases.append(nodes)
        nodes += panes[-1].nodes + 1
    most = float(sum(size[pane.paid].sum() for pane in panes))
    passing = np.array([pane.passing for pane in panes])
    if not most:
        return passing
    tails = [np.where(pane.tails == 1, base, pane.tails) for pane, base in zip(panes, bases, strict=True)]
    heads = [np.where(pane.heads == 1, base, pane.heads) for pane, base in zip(panes, bases, strict=True)]
    ends = np.array(bases)
    capacity = [
        np.concatenate([size[pane.paid], np.full(len(pane.tails) - len(pane.paid), np.inf)]) for pane in panes
    ]
    net = network(nodes, np.concatenate([*tails, ends]), np.concatenate([*heads, np.ones_like(ends)]))
    found = minimum_cut(net, np.concatenate([*capacity, np.full(len(ends), np.inf)]), most, most)
    return passing + found.by_place[net.places[-len(ends) :]]


def narrowest(
    windows: Windows,
    blocks: Blocks,
    block: int,
    *,
    seconds: Floats,
    rate: float,
    limit: float,
    error: float,
    arrays: tuple[Floats, Ints, Ints, Ints],
) -> tuple[float, Bools, float] | None:
    """Returns the best cut of a block over one hop if cheaper than limit: cost, late [layers], error bound.

    `seconds` is [before or behind the hop, layers]. `arrays` are the structure's size, producer, tensor_of
    and reader.
    """
    size, producer, tensor_of, reader = arrays
    own = np.flatnonzero(windows.block == block)
    first, stop = windows.first[own], windows.stop[own]
    start, end = int(blocks.starts[block]), int(blocks.last[block])
    sums = np.zeros((3, seconds.shape[1] + 1))
    np.cumsum(np.stack([*seconds, seconds.min(axis=0)]), axis=1, out=sums[:, 1:])
    outside = sums[0][first] - sums[0][start] + sums[1][end + 1] - sums[1][stop]
    floor = outside + sums[2][stop] - sums[2][first] + rate * windows.least[own]
    kept = np.flatnonzero(floor < limit)
    if not len(kept):
        return None
    tails, heads, room, nodes, most, panes = [], [], [], 2, 0.0, list[tuple[int, int, Pane]]()
    for i in kept.tolist():
        pane = pane_of(
            windows, int(own[i]), nodes, size, producer=producer, tensor_of=tensor_of, reader=reader
        )
        panes.append((i, nodes, pane))
        mine = slice(int(first[i]), int(stop[i]))
        layer = nodes + np.arange(stop[i] - first[i])
        more = seconds[:, mine] - seconds[:, mine].min(axis=0)
        tails += [pane.tails, np.zeros_like(layer), layer]
        heads += [pane.heads, layer, np.ones_like(layer)]
        free = np.full(len(pane.tails) - len(pane.paid), np.inf)
        room += [rate * size[pane.paid], free, more[1], more[0]]
        most += min(float(more[0].sum()), float(more[1].sum())) + rate * float(size[pane.paid].sum())
        nodes += pane.nodes
    capacity = np.concatenate(room)
    some = capacity > 0
    net = network(nodes, np.concatenate(tails)[some], np.concatenate(heads)[some])
    found = minimum_cut(net, capacity[some], most, error)
    best, late = np.inf, np.zeros(seconds.shape[1], dtype=bool)
    size, producer, tensor_of, reader = arrays
    for i, base, _ in panes:
        sides = np.zeros(seconds.shape[1], dtype=bool)
        sides[stop[i] :] = True
        sides[first[i] : stop[i]] = ~found.side[base : base + int(stop[i] - first[i])]
        read = np.zeros(len(size), dtype=bool)
        read[tensor_of[sides[reader]]] = True
        crossing = read & ~np.where(producer < 0, False, sides[producer]) & (windows.until >= start)
        cost = float(np.where(sides, seconds[1], seconds[0])[start : end + 1].sum())
        cost += rate * float(size[crossing & (producer <= end)].sum())
        if cost < best:
            best, late = cost, sides
    return best, late, found.above
