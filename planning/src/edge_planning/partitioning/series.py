"""The best tiers of blocks in series: a shortest path over (block, tier), with minimum cuts where needed."""

from dataclasses import dataclass

import numpy as np

from edge_planning.partitioning.blocks import Piece, piece_of
from edge_planning.partitioning.flows import Bools, Floats, Ints, minimum_cut, network
from edge_planning.partitioning.structures import Structure
from edge_planning.partitioning.windows import narrowest

ERROR = 1e-10  # of the cost, for the flows


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """The costs of a problem.

    Attributes:
        seconds: [tiers, layers], finite.
        behind: Seconds per byte from tier 0 to each tier [tiers].
        opening: Fixed cost if a tier is the last one used [tiers].
        forbidden: A cost above that of every allowed partition.
    """

    seconds: Floats
    behind: Floats
    opening: Floats
    forbidden: float


def costs_of(structure: Structure, seconds: Floats, rates: Floats, fixed: Floats, *, returned: bool) -> Costs:
    """Returns the costs; seconds are infinite where forbidden and include sending results back."""
    behind = np.concatenate([[0.0], np.cumsum(rates)])
    opening = np.concatenate([[0.0], np.cumsum(fixed)])
    allowed = np.isfinite(seconds)
    total = float(seconds[allowed].sum() + behind[-1] * structure.size.sum() * (1 + returned) + opening[-1])
    forbidden = 4 * total or 1.0
    whole = np.where(allowed, seconds, forbidden)
    results = structure.results[structure.producer[structure.results] >= 0]
    if returned:
        back = behind[:, None] * structure.size[results]
        for tensor, layer in enumerate(structure.producer[results].tolist()):
            whole[:, layer] += back[:, tensor]
    return Costs(whole, behind, opening, forbidden)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A tier per layer, the cost, and the maximum distance of that cost to the minimum."""

    tiers: Ints
    cost: float
    above: float


def cheapest(structure: Structure, costs: Costs) -> Spread:
    """Returns the tiers of minimum summed cost.

    The tensor that enters a block is produced at one tier b and the block's last layer runs at one tier c;
    all other layers lie between them. Crossing at the entry of the block is an upper bound for each (block,
    b, c). Its minimum crossing bytes and the fastest tier of each layer give a lower bound. Only those whose
    lower bound is below the best known path are solved by a minimum cut, all in one flow.
    """
    blocks = structure.blocks
    large = np.zeros(len(blocks.starts), dtype=bool)
    large[structure.windows.block] = True
    inside = np.add.reduceat(costs.seconds, blocks.starts, axis=1)
    above, below = _bounds(structure, costs, inside)
    plans = {(b, c): np.full(len(structure.layers), c) for b, c in above}
    for b, c in above:
        _straight(structure, costs, inside, above[b, c], plans[b, c], b=b, c=c)
    best = _shortest(inside, above, costs.opening)
    forward = _forward(inside, below)[0]
    backward = _backward(inside, below, costs.opening)
    missed, wanted, exact = 0.0, dict[tuple[int, int], Bools](), set[tuple[int, int]]()
    for b, c in above:
        rest = forward[b][:-1] + backward[c][1:]
        limit = np.minimum(best.cost * (1 - ERROR) - rest, above[b, c])
        chosen = below[b, c] < limit
        if c == b + 1:
            for block in np.flatnonzero(chosen).tolist():
                if blocks.closures[block] is not None:
                    _listed(structure, costs, above[b, c], plans[b, c], b, block)
                    chosen[block] = False
                elif large[block]:
                    most = float(limit[block])
                    missed += _narrow(
                        structure, costs, above[b, c], plans[b, c], b=b, block=block, limit=most
                    )
                    chosen[block] = False
        else:
            for block in np.flatnonzero(chosen & blocks.closed).tolist():
                solved, lost = _spanned(
                    structure, costs, inside, above, plans, exact=exact, ends=(b, c), block=block, limit=limit
                )
                missed += lost
                chosen[block] = not solved
        if chosen.any():
            wanted[b, c] = chosen
    if wanted:
        missed += _cut(structure, costs, wanted, above, plans, best.cost * ERROR)
    best = _shortest(inside, above, costs.opening)
    labels = np.zeros(len(structure.layers), dtype=np.int64)
    begun, tier = 0, 0
    for block, b, c in best.steps:
        labels[blocks.starts[begun] : blocks.starts[block]] = tier
        mine = slice(blocks.starts[block], blocks.last[block] + 1)
        labels[mine] = plans[b, c][mine]
        begun, tier = block + 1, c
    if begun < len(blocks.starts):
        labels[blocks.starts[begun] :] = tier
    return Spread(labels, best.cost, missed + best.cost * ERROR)


Between = dict[tuple[int, int], Floats]  # by (tier of the entering tensor, tier of the last layer): [blocks]


def _bounds(structure: Structure, costs: Costs, inside: Floats) -> tuple[Between, Between]:
    blocks, above, below = structure.blocks, Between(), Between()
    for b in range(len(costs.seconds)):
        fastest = costs.seconds[b]
        for c in range(b + 1, len(costs.seconds)):
            fastest = np.minimum(fastest, costs.seconds[c])
            rate = costs.behind[c] - costs.behind[b]
            floor = np.add.reduceat(fastest, blocks.starts) + rate * blocks.least
            ends = blocks.last[blocks.closed]
            floor[blocks.closed] += costs.seconds[c, ends] - fastest[ends]
            above[b, c] = inside[c] + rate * blocks.entering
            below[b, c] = np.minimum(floor, above[b, c])
            lone = blocks.starts == blocks.last
            below[b, c][lone & blocks.closed] = above[b, c][lone & blocks.closed]
    return above, below


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """steps: (block, tier before, tier behind) for each change of tier."""

    cost: float
    steps: list[tuple[int, int, int]]


def _forward(inside: Floats, between: Between) -> tuple[Floats, list[tuple[Ints, Ints]]]:
    """Returns the minimum cost before each end [tiers, blocks + 1], and from where each tier is entered."""
    tiers, count = inside.shape
    sums = np.zeros((tiers, count + 1))
    np.cumsum(inside, axis=1, out=sums[:, 1:])
    least = np.full((tiers, count + 1), np.inf)
    least[0] = sums[0]
    where = [(np.zeros(count + 1, dtype=np.int64),) * 2]
    for c in range(1, tiers):
        ways = np.stack([least[b][:-1] + between[b, c] for b in range(c)])
        source = np.argmin(ways, axis=0)
        entered = ways[source, np.arange(count)] - sums[c][1:]
        lowest = np.minimum.accumulate(entered)
        block = np.maximum.accumulate(np.where(entered <= lowest, np.arange(count), 0))
        least[c][1:] = lowest + sums[c][1:]
        where.append((source, block))
    return least, where


def _backward(inside: Floats, between: Between, opening: Floats) -> Floats:
    tiers, count = inside.shape
    least = np.empty((tiers, count + 1))
    for b in range(tiers - 1, -1, -1):
        after = np.zeros(count + 1)
        after[:-1] = np.cumsum(inside[b][::-1])[::-1]
        ways = [between[b, c] + least[c][1:] for c in range(b + 1, tiers)]
        left = np.full(count + 1, opening[b])
        if ways:
            left[:-1] = np.min(ways, axis=0) - after[:-1]
        least[b] = np.minimum.accumulate(left[::-1])[::-1] + after
    return least


def _shortest(inside: Floats, between: Between, opening: Floats) -> _Path:
    least, where = _forward(inside, between)
    ends = least[:, -1] + opening
    c = int(np.argmin(ends))
    cost, at, steps = float(ends[c]), inside.shape[1], list[tuple[int, int, int]]()
    while c:
        source, block = where[c]
        at = int(block[at - 1])
        b = int(source[at])
        steps.append((at, b, c))
        c = b
    return _Path(cost, steps[::-1])


def _cut(
    structure: Structure,
    costs: Costs,
    wanted: dict[tuple[int, int], Bools],
    above: Between,
    plans: dict[tuple[int, int], Ints],
    error: float,
) -> float:
    """Improves costs [blocks] and tiers [layers] of the wanted blocks; returns the total error bound."""
    s, nodes = structure, 2
    tails, heads, capacity, most = [], [], [], 0.0
    pieces = dict[tuple[int, int], tuple[Piece, int]]()
    for (b, c), chosen in wanted.items():
        piece = piece_of(
            s.blocks, chosen, c - b, nodes, producer=s.producer, tensor_of=s.tensor_of, reader=s.reader
        )
        pieces[b, c] = (piece, nodes)
        arcs, spared = _terminals(structure, costs, piece, b, c, nodes)
        rates = np.diff(costs.behind[b : c + 1])
        moved = (rates[:, None] * s.size[piece.paid]).ravel()
        tails += [piece.tails, arcs[0]]
        heads += [piece.heads, arcs[1]]
        capacity += [moved, np.full(len(piece.tails) - len(moved), np.inf), arcs[2]]
        most += float(above[b, c][chosen].sum()) - spared
        nodes += (c - b) * (len(piece.layers) + len(piece.tensors))
    room = np.concatenate(capacity)
    some = room > 0
    net = network(nodes, np.concatenate(tails)[some], np.concatenate(heads)[some])
    found = minimum_cut(net, room[some], most, error)
    for (b, c), chosen in wanted.items():
        piece, base = pieces[b, c]
        step = len(piece.layers) + len(piece.tensors)
        late = ~found.side[base : base + (c - b) * step].reshape(c - b, step)[:, : len(piece.layers)]
        labels = np.full(len(s.layers), b)
        labels[piece.layers] = b + late.sum(axis=0)
        values = _values(structure, costs, labels, chosen, b)
        better = values < above[b, c]
        above[b, c][better] = values[better]
        mine = better[s.blocks.of_layer]
        plans[b, c][mine] = labels[mine]
    return found.above


def _straight(
    structure: Structure, costs: Costs, inside: Floats, above: Floats, plan: Ints, *, b: int, c: int
) -> None:
    """Tries the cuts of a large block between its first layers, in their numbered order, and the others."""
    blocks = structure.blocks
    for block in np.unique(structure.windows.block).tolist():
        start, last = int(blocks.starts[block]), int(blocks.last[block])
        gains = np.cumsum(costs.seconds[b, start:last] - costs.seconds[c, start:last])
        rate = costs.behind[c] - costs.behind[b]
        ways = inside[c, block] + gains + rate * structure.windows.alive[start + 1 : last + 1]
        best = int(np.argmin(ways))
        if ways[best] < above[block]:
            above[block] = ways[best]
            plan[start : start + best + 1] = b


def _listed(structure: Structure, costs: Costs, above: Floats, plan: Ints, b: int, block: int) -> None:
    """Improves the cost of a block over one hop and its tiers from the list of its cuts."""
    closures = structure.blocks.closures[block]
    assert closures is not None
    mine = slice(structure.blocks.starts[block], structure.blocks.last[block] + 1)
    before, behind = costs.seconds[b, mine], costs.seconds[b + 1, mine]
    moved = (costs.behind[b + 1] - costs.behind[b]) * closures.crossing
    ways = closures.late @ (behind - before) + moved + before.sum()
    best = int(np.argmin(ways))
    if ways[best] < above[block]:
        above[block] = ways[best]
        plan[mine] = b + closures.late[best]


def _spanned(
    structure: Structure,
    costs: Costs,
    inside: Floats,
    above: Between,
    plans: dict[tuple[int, int], Ints],
    *,
    exact: set[tuple[int, int]],
    ends: tuple[int, int],
    block: int,
    limit: Floats,
) -> tuple[bool, float]:
    """Returns whether a closed block over several hops is solved by its cuts over each, and the error bound.

    Costs are sums over hops; the only coupling is that a layer behind a hop is behind all earlier hops. The
    sum of the minimum costs per hop is therefore a bound, which is reached if the cuts are nested. `exact`
    has the hops and blocks whose best cuts are known.
    """
    s, (b, c) = structure, ends
    mine = slice(s.blocks.starts[block], s.blocks.last[block] + 1)
    total, missed = float(inside[b, block]), 0.0
    behind = np.ones(int(s.blocks.last[block] - s.blocks.starts[block]) + 1, dtype=bool)
    labels, nested = np.full(len(behind), b), True
    for hop in range(b, c):
        known, plan = above[hop, hop + 1], plans[hop, hop + 1]
        if (hop, block) not in exact:
            if s.blocks.closures[block] is not None:
                _listed(structure, costs, known, plan, hop, block)
            elif (s.windows.block == block).any():
                missed += _narrow(
                    structure, costs, known, plan, b=hop, block=block, limit=float(known[block])
                )
            else:
                return False, 0.0
            exact.add((hop, block))
        total += float(known[block] - inside[hop, block])
        late = plan[mine] > hop
        nested &= not (late & ~behind).any()
        behind = late
        labels += late
    if nested and total < above[ends][block]:
        above[ends][block] = total
        plans[ends][mine] = labels
    return nested or total >= limit[block], missed


def _narrow(
    structure: Structure, costs: Costs, above: Floats, plan: Ints, *, b: int, block: int, limit: float
) -> float:
    """Improves the cost of a large block over one hop and its tiers; returns the error bound."""
    s = structure
    rate = float(costs.behind[b + 1] - costs.behind[b])
    arrays = (s.size, s.producer, s.tensor_of, s.reader)
    found = narrowest(
        s.windows,
        s.blocks,
        block,
        seconds=costs.seconds[b : b + 2],
        rate=rate,
        limit=limit,
        error=limit * ERROR,
        arrays=arrays,
    )
    if found is None:
        return 0.0
    cost, late, missed = found
    if cost < above[block]:
        mine = slice(s.blocks.starts[block], s.blocks.last[block] + 1)
        above[block] = cost
        plan[mine] = b + late[mine]
    return missed


def _terminals(
    structure: Structure, costs: Costs, piece: Piece, b: int, c: int, base: int
) -> tuple[tuple[Ints, Ints, Floats], float]:
    """Returns arcs that price tiers b to c of a piece's layers above the fastest tier, and the fastest's sum.

    The last layer of a closed block stays at c.
    """
    count, step = len(piece.layers), len(piece.layers) + len(piece.tensors)
    seconds = costs.seconds[b : c + 1, piece.layers]
    blocks = structure.blocks
    ends = (blocks.last[blocks.of_layer[piece.layers]] == piece.layers) & blocks.closed[
        blocks.of_layer[piece.layers]
    ]
    seconds[:-1, ends] = np.inf
    least = seconds.min(axis=0)
    seconds -= least
    layer = base + np.arange(count)
    tails, heads = [np.zeros_like(layer)], [layer + (c - b - 1) * step]
    free_tails, free_heads = [], []
    for h in range(c - b - 1, 0, -1):
        tails.append(layer + h * step)
        heads.append(layer + (h - 1) * step)
        free_tails.append(layer + (h - 1) * step)
        free_heads.append(layer + h * step)
    tails.append(layer)
    heads.append(np.ones_like(layer))
    free = np.full(count * (c - b - 1), np.inf)
    arcs = (
        np.concatenate(tails + free_tails),
        np.concatenate(heads + free_heads),
        np.concatenate([seconds[::-1].ravel(), free]),
    )
    return arcs, float(least.sum())


def _values(structure: Structure, costs: Costs, labels: Ints, chosen: Bools, b: int) -> Floats:
    s, blocks = structure, structure.blocks
    count = len(blocks.starts)
    compute = np.add.reduceat(costs.seconds[labels, np.arange(len(labels))], blocks.starts)
    read = np.full(len(s.size), b)
    np.maximum.at(read, s.tensor_of, labels[s.reader])
    enters = s.producer < blocks.starts[blocks.of_tensor]
    made = np.where(enters, b, labels[s.producer])
    known = blocks.of_tensor >= 0
    moved = s.size * (costs.behind[read] - costs.behind[made])
    return np.where(chosen, compute + np.bincount(blocks.of_tensor[known], moved[known], count), np.inf)
