"""Compares engines on minimum cuts of 1,000 layers: `python -m benchmarks.planner.flows [--quick]`.

Two tiers, with the same network and capacities for every engine; milliseconds with and without the engine's
construction. For comparison `partition`, which reduces the network first.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import highspy
import igraph
import networkx
import numpy as np

from edge_planning.graphs.values import Graph, Layer, Tensor
from edge_planning.partitioning import Partition, PartitionProblem, partition, structure_of
from edge_planning.partitioning.flows import Floats, Ints, minimum_cut, network
from edge_planning.partitioning.structures import Structure

LEAST = 1e-9  # of the cut, for the error of scipy's passes
MIDDLE = 0.3  # seconds to send a median tensor, relative to the server's total saving


@dataclass(frozen=True)
class Arcs:
    """A network with whole-number capacities, node 0 the source and node 1 the sink."""

    nodes: int
    tails: Ints
    heads: Ints
    capacity: Floats


def graph_of(reads: list[tuple[int, ...]], sizes: list[int]) -> Graph:
    """Layer i produces tensor i + 1 from the tensors of these numbers; tensor 0 is the input."""
    names = [f"t{n}" for n in range(len(reads) + 1)]
    layers = tuple(
        Layer(f"l{n}", "conv", tuple(names[i] for i in ins), (names[n + 1],), 1.0, 0, sizes[n + 1], 1)
        for n, ins in enumerate(reads)
    )
    tensors = {name: Tensor(name, (size,), size, size) for name, size in zip(names, sizes, strict=True)}
    return Graph("made", ("t0",), (names[-1],), layers, tensors)


def residual(layers: int) -> Graph:
    """Blocks of three layers and an addition, as in ResNet-50, their tensors shrinking along the way."""
    reads: list[tuple[int, ...]] = []
    while len(reads) < layers:
        start = len(reads)
        reads += [(start,), (start + 1,), (start + 2,), (start, start + 3)]
    return graph_of(reads[:layers], _sizes(reads[:layers], (1.0, 0.25, 0.25, 1.0)))


def inception(layers: int) -> Graph:
    """Blocks of four branches of one to three layers that are joined."""
    reads: list[tuple[int, ...]] = []
    while len(reads) < layers:
        s = len(reads)
        branches = [(s,), (s,), (s + 2,), (s,), (s + 4,), (s + 5,), (s,), (s + 7,)]
        reads += [*branches, (s + 1, s + 3, s + 6, s + 8)]
    return graph_of(reads[:layers], _sizes(reads[:layers], (0.2, 0.1, 0.3, 0.1, 0.1, 0.2, 1.0, 0.2, 1.0)))


def _sizes(reads: list[tuple[int, ...]], widths: tuple[float, ...]) -> list[int]:
    rng = np.random.default_rng(3)
    fall = np.geomspace(3_000_000, 20_000, len(reads) + 1) * rng.uniform(0.8, 1.25, len(reads) + 1)
    return [2_000_000, *(int(s * widths[n % len(widths)]) for n, s in enumerate(fall[1:]))]


def dense(layers: int) -> Graph:
    """Every layer reads up to four of the sixteen tensors before it; every tensor has a reader."""
    rng = np.random.default_rng(5)
    reads = []
    unread: list[int] = []
    for n in range(layers):
        near = np.arange(max(0, n - 15), n + 1)
        some = rng.choice(near, min(len(near), int(rng.integers(1, 5))), replace=False).tolist()
        unread.append(n)
        due = [t for t in unread if t <= n - 15 or n == layers - 1]  # a tensor without a reader must get one
        reads.append(tuple(sorted({*some, *due})))
        unread = [t for t in unread if t not in reads[-1]]
    fall = np.geomspace(3_000_000, 20_000, layers + 1) * rng.uniform(0.2, 1.8, layers + 1)
    return graph_of(reads, fall.astype(int).tolist())


def seconds_of(graph: Graph) -> Floats:
    """A device and a server eight to twelve times as fast: [2, layers]."""
    rng = np.random.default_rng(9)
    slow = rng.lognormal(-8, 0.7, len(graph.layers))
    return np.stack([slow, slow / rng.uniform(8, 12, len(slow))])


def arcs_of(structure: Structure, seconds: Floats, rate: float) -> Arcs:
    """The two-tier network: layers, and a node for each tensor."""
    count, tensors = len(structure.layers), len(structure.tensors)
    layer, tensor = 2 + np.arange(count), 2 + count + np.arange(tensors)
    made = np.where(structure.producer < 0, 0, 2 + structure.producer)
    reader, read = 2 + structure.reader, structure.tensor_of
    inner = made[read] > 0
    tails = [np.zeros_like(layer), layer, made, tensor[read], reader[inner]]
    heads = [layer, np.ones_like(layer), tensor, reader, made[read][inner]]
    costs = np.concatenate([seconds[1], seconds[0], rate * structure.size])
    whole = np.rint(costs * (2.0**28 / costs.sum()))
    free = np.full(len(read) + int(inner.sum()), 2.0**29)
    capacity = np.concatenate([whole, free])
    return Arcs(2 + count + tensors, np.concatenate(tails), np.concatenate(heads), capacity)


Engine = Callable[
    [Arcs], Callable[[], float]
]  # builds the network, and returns a function that solves it and returns the cut's size


def _scipy(arcs: Arcs) -> Callable[[], float]:
    net = network(arcs.nodes, arcs.tails, arcs.heads)
    return lambda: minimum_cut(net, arcs.capacity, 2.0**28, LEAST * 2**28).flow


def _igraph(arcs: Arcs) -> Callable[[], float]:
    made = igraph.Graph(arcs.nodes, np.stack([arcs.tails, arcs.heads], 1), directed=True)
    capacity = arcs.capacity.tolist()
    return lambda: float(made.st_mincut(0, 1, capacity).value)


def _networkx(arcs: Arcs) -> Callable[[], float]:
    made: networkx.DiGraph[int] = networkx.DiGraph()
    every = zip(arcs.tails.tolist(), arcs.heads.tolist(), arcs.capacity.tolist(), strict=True)
    for tail, head, room in every:
        known = made.get_edge_data(tail, head, {"capacity": 0.0})["capacity"]
        made.add_edge(tail, head, capacity=known + room)
    return lambda: float(networkx.minimum_cut(made, 0, 1)[0])


def _highs(arcs: Arcs) -> Callable[[], float]:
    """The dual of the flow: potentials between 0 and 1, and what each arc is cut by."""
    count, cuts = arcs.nodes, len(arcs.tails)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = count + cuts, cuts
    lp.col_cost_ = np.concatenate([np.zeros(count), arcs.capacity])
    lower, upper = np.zeros(count + cuts), np.ones(count + cuts)
    lower[1], upper[0] = 1.0, 0.0
    lp.col_lower_, lp.col_upper_ = lower, upper
    lp.row_lower_, lp.row_upper_ = np.zeros(cuts), np.full(cuts, np.inf)
    row = np.arange(cuts)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(0, 3 * cuts + 1, 3)
    lp.a_matrix_.index_ = np.stack([arcs.tails, arcs.heads, count + row], 1).ravel()
    lp.a_matrix_.value_ = np.tile([1.0, -1.0, 1.0], cuts)
    model = highspy.Highs()  # type: ignore[no-untyped-call]
    model.setOptionValue("output_flag", False)  # noqa: FBT003
    model.setOptionValue("threads", 1)
    model.passModel(lp)

    def solve() -> float:
        model.clearSolver()
        model.run()
        return float(model.getInfo().objective_function_value)

    return solve


ENGINES: dict[str, Engine] = {"scipy": _scipy, "igraph": _igraph, "networkx": _networkx, "highs_lp": _highs}


def timed(engine: Engine, arcs: Arcs, repeats: int) -> dict[str, float]:
    """Medians in milliseconds, and the size of the cut."""
    whole, alone, value = [], [], 0.0
    for _ in range(repeats):
        begun = time.perf_counter()
        solve = engine(arcs)
        built = time.perf_counter()
        value = solve()
        done = time.perf_counter()
        whole.append(done - begun)
        alone.append(done - built)
    return {
        "ms_with_construction": round(float(np.median(whole)) * 1e3, 3),
        "ms": round(float(np.median(alone)) * 1e3, 3),
        "cut": value,
    }


def reduced(graph: Graph, seconds: Floats, rates: Floats, repeats: int) -> dict[str, object]:
    """Milliseconds of `partition` at new bandwidths, with all networks rebuilt, and of the structure."""
    begun = time.perf_counter()
    structure = structure_of(graph)
    made = time.perf_counter() - begun
    taken, sides = [], []
    for rate in np.repeat(rates, repeats):
        begun = time.perf_counter()
        problem = PartitionProblem(structure, seconds, np.array([rate]), np.zeros(1))
        found = partition(problem)
        taken.append(time.perf_counter() - begun)
        assert isinstance(found, Partition)
        assert found.exact
        sides.append(sum(found.tier_of_layer))
    return {
        "ms_median": round(float(np.median(taken)) * 1e3, 3),
        "ms_worst_rate": round(float(np.median(np.reshape(taken, (-1, repeats)), axis=1).max()) * 1e3, 3),
        "structure_ms": round(made * 1e3, 3),
        "blocks": len(structure.blocks.starts),
        "layers_behind": sides[::repeats],
    }


def measure(progress: Callable[[str], None], *, quick: bool) -> dict[str, object]:
    """The figures by graph and engine."""
    layers, found = (200 if quick else 1000), dict[str, object]()
    for make in (residual, inception, dense):
        graph = make(layers)
        structure, seconds = structure_of(graph), seconds_of(graph)
        extent = float((seconds[0] - seconds[1]).sum() / np.median(structure.size))
        arcs = arcs_of(structure, seconds, extent * MIDDLE)
        for name, engine in ENGINES.items():
            slow = name in ("networkx", "highs_lp")
            found[f"{make.__name__}_{name}"] = timed(engine, arcs, 3 if slow or quick else 21)
            progress(f"{make.__name__} {name}: {found[f'{make.__name__}_{name}']}")
        rates = extent * np.geomspace(0.01, 10, 13)
        found[f"{make.__name__}_partition"] = reduced(graph, seconds, rates, 3 if quick else 21)
        progress(f"{make.__name__} partition: {found[f'{make.__name__}_partition']}")
    try:
        importlib.import_module("rustworkx")
    except ModuleNotFoundError:
        found["rustworkx"] = "not installed"
    return found


if __name__ == "__main__":
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr), quick="--quick" in sys.argv)))
