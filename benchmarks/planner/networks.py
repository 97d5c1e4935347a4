"""Networks to partition: random ones of many shapes, and large ones similar to real ones.

The seeded processes. `random_network`: one of four shapes (a series of residual and inception-like blocks;
rows of a given width, each layer reading some of the row before; layers that read any of the last few
tensors; layers that read any tensor, so that some tensors have many readers), 5 to 40 layers, one to three
inputs and results, sometimes a layer with two outputs. `random_problem`: log-normal seconds, some of them
0, later tiers mostly faster; rates at which sending a typical tensor costs from a thousandth of all computing
to more than it; fixed seconds for hops, results that travel back and fixed layers in a part of the problems.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from edge_planning.graphs.values import Graph, Layer, Tensor
from edge_planning.partitioning import PartitionProblem, structure_of
from edge_planning.partitioning.partitions import Floats

Reads = list[list[str]]


def network(
    reads: Sequence[Sequence[str]],
    sizes: Sequence[int],
    flops: Sequence[float] = (),
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = (),
    double: frozenset[int] = frozenset(),
) -> Graph:
    """Layer i produces the tensor ti (a layer in `double` also ui). sizes: of inputs, then of layers.

    outputs: by default all tensors without readers.
    """
    made = [(f"t{i}", f"u{i}") if i in double else (f"t{i}",) for i in range(len(reads))]
    names = [*((name,) for name in inputs), *made]
    tensors = {
        name: Tensor(name, (size // 4,), size // 4, size)
        for each, size in zip(names, sizes, strict=True)
        for name in each
    }
    layers = []
    for i, (ins, outs) in enumerate(zip(reads, made, strict=True)):
        held = sum(tensors[name].size for name in {*ins, *outs})
        work = flops[i] if flops else 1.0
        activations = sum(tensors[name].size for name in outs)
        layers.append(Layer(f"l{i}", "opaque", tuple(ins), outs, work, 0, activations, held))
    used = {name for ins in reads for name in ins}
    ends = tuple(outputs) or tuple(name for each in made for name in each if name not in used)
    return Graph("made", tuple(inputs), ends, tuple(layers), tensors)


def random_network(rng: np.random.Generator, most: int = 40, work: float = 1.0) -> Graph:
    """One of four shapes; see above. work: median FLOPs of a layer."""
    count = int(rng.integers(5, most + 1))
    inputs = [f"x{n}" for n in range(rng.choice([1, 1, 1, 2, 3]))]
    double = frozenset(np.flatnonzero(rng.random(count) < rng.choice([0.0, 0.0, 0.1])).tolist())
    shape = rng.integers(4)
    if shape == 0:
        reads = blocks(rng, count, inputs)
    elif shape == 1:
        reads = _rows(rng, count, inputs, int(rng.integers(1, 7)))
    else:
        reads = _backwards(rng, count, inputs, int(rng.integers(2, 7)) if shape == 2 else count)
    for n, name in enumerate(inputs):
        if not any(name in one for one in reads):
            reads[n].append(name)
    for i in range(count):  # the second output is sometimes read, otherwise it is a result
        reads[i] = [
            f"u{name[1:]}" if name[0] == "t" and int(name[1:]) in double and rng.random() < 0.4 else name
            for name in reads[i]
        ]
    sizes = np.maximum(rng.lognormal(9, 1.5, len(inputs) + count), 1)
    if rng.random() < 0.2:
        sizes = np.full(len(sizes), 4096.0)  # everything ties
    flops = work * rng.lognormal(0, 1, count)
    graph = network(reads, sizes.astype(int).tolist(), flops.tolist(), inputs, double=double)
    made = [layer.outputs[0] for layer in graph.layers[count // 3 :]]
    inner = [name for name in made if name not in graph.outputs]
    if inner and rng.random() < 0.25:  # an early exit: a result that is also read
        return replace(graph, outputs=(*graph.outputs, str(rng.choice(inner))))
    return graph


def random_problem(
    rng: np.random.Generator,
    graph: Graph,
    tiers: int,
    objective: Literal["latency", "bottleneck"] = "latency",
    *,
    limited: bool = False,
) -> PartitionProblem:
    """Costs for a network; see above. limited: memory for 60 to 100 % of what all layers need."""
    count = len(graph.layers)
    base = rng.lognormal(-6, 1, count) * (rng.random(count) > rng.choice([0.0, 0.3]))
    factors = np.cumprod([1.0, *rng.uniform(0.05, 1.1, tiers - 1)])
    seconds = base * factors[:, None] * rng.uniform(0.7, 1.3, (tiers, count))
    typical = float(np.median([tensor.size for tensor in graph.tensors.values()]))
    rates = float(base.sum()) / typical * rng.lognormal(-2, 1.5, tiers - 1)
    hop_fixed = base.sum() * rng.uniform(0, 0.2, tiers - 1) * (rng.random() < 0.5)
    fixed = {}
    if rng.random() < 0.15:
        fixed = {int(rng.integers(count)): int(rng.integers(tiers)) for _ in range(rng.integers(1, 3))}
    memory = limits = None
    if limited:
        memory = rng.uniform(1, 100, count)
        limits = memory.sum() * rng.dirichlet(np.ones(tiers)) * rng.uniform(1.1, 1.6)
    return PartitionProblem(
        structure_of(graph),
        seconds,
        rates,
        hop_fixed,
        bool(rng.random() < 0.3),
        memory,
        limits,
        fixed,
        objective,
    )


def large_network(rng: np.random.Generator, layers: int = 1000) -> Graph:
    """Residual and inception-like blocks in series; activations shrink, their work stays about even."""
    return network(blocks(rng, layers, ["x"]), *_shrinking(rng, layers), outputs=[f"t{layers - 1}"])


def tangled_network(rng: np.random.Generator, layers: int = 1000) -> Graph:
    """Two chains that read each other at random and meet in the last layer: no single tensor is a cut."""
    reads: Reads = []
    for i in range(layers - 1):
        ins = [f"t{i - 2}" if i > 1 else "x"]
        others = range(max(i - 12, 0), i - 2)
        ins += [f"t{j}" for j in rng.choice(others, min(int(rng.integers(0, 3)), len(others)), replace=False)]
        reads.append(list(dict.fromkeys(ins)))
    reads.append([f"t{layers - 2}", f"t{layers - 3}"])
    sizes, flops = _shrinking(rng, layers)
    narrow = [
        sizes[0],
        *(max(size // 8, 4) for size in sizes[1:]),
    ]  # several of them are alive at the same time
    return network(reads, narrow, flops, outputs=[f"t{layers - 1}"])


def _shrinking(rng: np.random.Generator, layers: int) -> tuple[list[int], list[float]]:
    """Bytes of an image and of each layer's tensor, from 64 maps of 112 x 112 on halved nine times; FLOPs."""
    elements = 64 * 112 * 112 * 0.5 ** np.floor(np.linspace(0, 9, layers)) * rng.uniform(0.5, 1.5, layers)
    memoization = rng.random(layers) < 0.4  # activations, additions, pooling
    flops = np.where(memoization, elements * rng.uniform(1, 9, layers), rng.lognormal(17, 0.5, layers))
    return [4 * 3 * 224 * 224, *(4 * elements.astype(int)).tolist()], flops.tolist()


def speeds(graph: Graph, tiers: int) -> Floats:
    """Seconds [tiers, layers]: FLOPs at 10 GFLOP/s and 0.1 ms a layer; the last tier ten times as fast."""
    flops = np.array([layer.flops for layer in graph.layers])
    times: Floats = np.stack([(flops / 1e10 + 1e-4) / 10.0 ** (tier / (tiers - 1)) for tier in range(tiers)])
    return times


def blocks(rng: np.random.Generator, count: int, inputs: Sequence[str]) -> Reads:
    """Residual and inception-like blocks in sequence, and single layers up to the count."""
    reads: Reads = [list(inputs)]
    while len(reads) < count:
        last, left = f"t{len(reads) - 1}", count - len(reads)
        branches = int(rng.integers(1, 5))
        depths = rng.integers(1, 4, branches).tolist()
        if sum(depths) + 1 > left:
            reads.append([last])
            continue
        ends = [last] if branches == 1 else []
        for depth in depths:
            name = last
            for _ in range(depth):
                reads.append([name])
                name = f"t{len(reads) - 1}"
            ends.append(name)
        reads.append(ends)
    return reads


def _rows(rng: np.random.Generator, count: int, inputs: Sequence[str], width: int) -> Reads:
    reads: Reads = []
    before, row = list(inputs), list[str]()
    for i in range(count):
        some = min(int(rng.integers(1, 4)), len(before))
        reads.append(rng.choice(before, some, replace=False).tolist())
        row.append(f"t{i}")
        if len(row) == width:
            before, row = row, []
    return reads


def _backwards(rng: np.random.Generator, count: int, inputs: Sequence[str], window: int) -> Reads:
    reads: Reads = []
    for i in range(count):
        known = [*inputs, *(f"t{j}" for j in range(i))][-window:]
        some = min(int(rng.integers(1, 4)), len(known))
        reads.append(rng.choice(known, some, replace=False).tolist())
    return reads
