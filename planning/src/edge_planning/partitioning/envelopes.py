"""All cuts that are optimal at some bandwidth."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edge_planning.errors import require
from edge_planning.graphs.cuts import Outputs, makers, named, on_the_way
from edge_planning.graphs.values import Graph
from edge_planning.partitioning.partitions import Floats, PartitionProblem
from edge_planning.partitioning.series import cheapest, costs_of
from edge_planning.partitioning.structures import Ints, structure_of


@dataclass(frozen=True, slots=True)
class EnvelopeCut:
    """The crossing tensors, their bytes, and the seconds of the layers before and behind."""

    tensors: tuple[str, ...]
    size: int
    head_seconds: float
    tail_seconds: float


def envelope_cuts(
    graph: Graph, outputs: Outputs, head_seconds: Floats, tail_seconds: Floats
) -> tuple[EnvelopeCut, ...]:
    """Returns every cut on the lower envelope of head + tail + bytes x (seconds per byte), the input first.

    The other cuts follow in order of decreasing bytes. The layers that produce the outputs are always behind
    the cut. At the intersection of two known lines a minimum cut searches for a lower line, until there is
    none (Eisner and Severance, J. ACM 1976). This takes at most two minimum cuts per line of the envelope,
    and three more. `head_seconds` and `tail_seconds` are [layers of the graph].
    """
    _, numbers = on_the_way(graph, outputs)
    require(bool(numbers), f"graph {graph.name}: the output {', '.join(named(outputs))} depends on no input")
    s = structure_of(graph, numbers, outputs)
    for name, values in (("head_seconds", head_seconds), ("tail_seconds", tail_seconds)):
        require(values.shape == (len(graph.layers),), f"{name}: shape {values.shape}")
    seconds = np.stack([head_seconds, tail_seconds])[:, list(numbers)]
    PartitionProblem(s, seconds, np.zeros(1), np.zeros(1))  # raises for invalid values
    allowed = seconds.copy()
    maker = makers(graph)
    last = [maker[name] for name in named(outputs) if maker.get(name) in numbers]
    allowed[0, [numbers.index(number) for number in last]] = np.inf

    def cut(tiers: Ints) -> EnvelopeCut:
        made = np.where(s.producer < 0, 0, tiers[s.producer])
        read = made.copy()
        np.maximum.at(read, s.tensor_of, tiers[s.reader])
        over = np.flatnonzero(read > made)
        return EnvelopeCut(
            tuple(s.tensors[t] for t in over),
            int(s.size[over].sum()),
            float(seconds[0][tiers == 0].sum()),
            float(seconds[1][tiers == 1].sum()),
        )

    def best(rate: float, weight: float = 1.0) -> EnvelopeCut:
        weighed = np.where(np.isfinite(allowed), seconds * weight, np.inf)
        return cut(cheapest(s, costs_of(s, weighed, np.array([rate]), np.zeros(1), returned=False)).tiers)

    def fixed(one: EnvelopeCut) -> float:
        return one.head_seconds + one.tail_seconds

    def between(fast: EnvelopeCut, slow: EnvelopeCut) -> list[EnvelopeCut]:
        if fast.size <= slow.size or fixed(fast) >= fixed(slow):
            return []
        rate = (fixed(slow) - fixed(fast)) / (fast.size - slow.size)
        found = best(rate)
        level = fixed(fast) + rate * fast.size
        if fixed(found) + rate * found.size >= level * (1 - 1e-9):
            return []
        return [*between(fast, found), found, *between(found, slow)]

    first = cut(np.ones(len(numbers), dtype=np.int64))
    fast, slow = best(0.0), best(1.0, 0.0)
    every = dict.fromkeys([fast, *between(fast, slow), slow])  # the ends can tie with better cuts
    return tuple(dict.fromkeys([first, *(one for one in every if not _beaten(one, every))]))


def _beaten(one: EnvelopeCut, every: Iterable[EnvelopeCut]) -> bool:
    mine = (one.size, one.head_seconds + one.tail_seconds)
    theirs = ((other.size, other.head_seconds + other.tail_seconds) for other in every)
    return any(size <= mine[0] and seconds <= mine[1] and (size, seconds) != mine for size, seconds in theirs)
