"""Measures correctness and speed of partitioning over tiers: `python -m benchmarks.planner.dags [--quick]`.

Costs are compared with those of a separate mixed integer program (referees.py). Times are those of networks
of 1,000 layers (described in networks.py), each at a new bandwidth.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from statistics import median
from typing import Any

import networkx as nx
import numpy as np

from benchmarks.graphs.catalogue import build
from benchmarks.planner.networks import (
    large_network,
    random_network,
    random_problem,
    speeds,
    tangled_network,
)
from benchmarks.planner.referees import by_milp, price
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import layer_times
from edge_planning.graphs.cuts import chain_cuts
from edge_planning.graphs.onnx_reading import read_graph
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph
from edge_planning.partitioning import (
    Partition,
    PartitionProblem,
    Structure,
    Unpartitionable,
    partition,
    structure_of,
)
from edge_planning.partitioning.partitions import Floats

Progress = Callable[[str], None]
Instances = Iterator[tuple[Graph, PartitionProblem]]
REAL = ("resnet50", "inception_v3", "mobilenet_v2", "transformer12")
OTHERS = ("unet", "camera_and_sensors")


def equal(graph: Graph, problem: PartitionProblem) -> bool:
    """Whether the planner's partition has the cost of the reference solution within 1e-6 of it."""
    found, best = partition(problem), by_milp(graph, problem)
    if isinstance(found, Unpartitionable) or best is None:
        return isinstance(found, Unpartitionable) and best is None
    mine, wanted = price(graph, problem, found.tier_of_layer), price(graph, problem, best)
    told = abs(found.cost - mine) <= 1e-9 * max(mine, 1e-12)
    return told and abs(mine - wanted) <= 1e-6 * max(wanted, 1e-12)


def measure(progress: Progress, *, quick: bool) -> dict[str, object]:
    """The part `dags` of bench-planner; milliseconds by the wall clock unless a name says otherwise.

    dag_1000_layers_ms: one partition over two tiers, including all that the solver builds from the structure;
    dag_structure_ms: the structure, once per model; …_again_ms: at a further bandwidth;
    …_from_graph_ms: with the structure.
    …_split: share of the bandwidths at which more than one tier computes. dag_gain_over_chain: by which share
    the best cut of one tensor costs more than the best of all cuts, at the bandwidth with the largest share.
    """
    count = 200 if quick else 10_000
    names = REAL[:1] if quick else REAL
    results: dict[str, object] = {}
    shares = [
        _share(progress, "random networks", _random(count, 4)),
        _share(progress, ", ".join(names), _real(names, 2 if quick else 8)),
    ]
    right, all_of_them = (sum(column) for column in zip(*shares, strict=True))
    results |= {"dag_equal_milp": right / all_of_them, "dag_milp_instances": all_of_them}
    right, all_of_them = _share(progress, "memory limits, bottlenecks", _constrained(count // 10, 5))
    results |= {"dag_constrained_equal_milp": right / all_of_them, "dag_constrained_instances": all_of_them}
    results["dag_gain_over_chain"] = {name: _gain(name, 5 if quick else 60) for name in (*names, *OTHERS)}
    progress(f"gain of cuts of several tensors: {results['dag_gain_over_chain']}")
    residual, tangled = large_network(np.random.default_rng(1)), tangled_network(np.random.default_rng(2))
    if chain_cuts(tangled, tangled.outputs[0]) != (("x",),):
        raise AssertionError("the tangled network has a cut of one tensor")
    runs = 20 if quick else 300
    for name, graph, tiers in (
        ("dag_1000_layers", residual, 2),
        ("dag_1000_layers_3_tiers", residual, 3),
        ("dag_1000_tangled", tangled, 2),
        ("dag_1000_tangled_3_tiers", tangled, 3),
    ):
        results |= _times(progress, name, graph, tiers, runs)
    results["dag_structure_ms"] = round(median(_structures(residual, 5 if quick else 30)), 3)
    for name, graph in (("dag_vs_networkx", residual), ("dag_tangled_vs_networkx", tangled)):
        results |= _against_networkx(progress, name, graph, 1 if quick else 5)
    return results


def _share(progress: Progress, what: str, instances: Instances) -> tuple[int, int]:
    right = count = 0
    for count, (graph, problem) in enumerate(instances, 1):
        right += equal(graph, problem)
        if count % 1000 == 0:
            progress(f"{right} of {count} equal")
    progress(f"{what}: {right} of {count} partitions have the cost of the integer program's")
    return right, count


def _random(count: int, seed: int) -> Instances:
    rng = np.random.default_rng(seed)
    for number in range(count):
        graph = random_network(rng)
        yield graph, random_problem(rng, graph, 2 + number % 2)


def _constrained(count: int, seed: int) -> Instances:
    rng = np.random.default_rng(seed)
    for number in range(count):
        graph = random_network(rng, 20)
        slowest = number % 3 == 0
        yield (
            graph,
            random_problem(
                rng,
                graph,
                2 + number % 2,
                "bottleneck" if slowest else "latency",
                limited=not slowest or number % 2 == 0,
            ),
        )


def _real(names: Sequence[str], bandwidths: int) -> Instances:
    """Raspberry Pi 3 and desktop; in between, for three tiers, one of their geometric mean."""
    for name in names:
        graph, (pi, desktop) = _at_edgents(name)
        places = {2: (pi, desktop), 3: (pi, np.sqrt(pi * desktop), desktop)}
        for tiers, bandwidth in product((2, 3), np.geomspace(1e5, 1e9, bandwidths)):
            seconds = np.stack(places[tiers])
            rates = 8 / bandwidth * np.array([0.2, 1.0][3 - tiers :])
            yield graph, PartitionProblem(structure_of(graph), seconds, rates, np.full(tiers - 1, 0.002))


def _at_edgents(name: str) -> tuple[Graph, Floats]:
    """A real network and the seconds of its layers on Edgent's two machines."""
    graph = read_graph(build(name), name=name)
    times = [[one.seconds for one in layer_times(graph, place)] for place in (RASPBERRY_PI_3, DESKTOP)]
    return graph, np.array(times)


def _gain(name: str, bandwidths: int) -> float:
    """Returns by which share the best cut of one tensor (or of all inputs, or none) exceeds the best cost."""
    graph, seconds = _at_edgents(name)
    numbers = {layer.outputs[0]: n for n, layer in enumerate(graph.layers)}
    lines = [(float(seconds[0].sum()), 0)]
    for cut in chain_cuts(graph, graph.outputs[0]):
        tiers = np.ones(len(numbers), dtype=np.int64)
        tiers[[numbers[layer.outputs[0]] for layer in layers_between(graph, (), cut)]] = 0
        size = sum(graph.tensors[tensor].size for tensor in cut)
        lines.append((float(seconds[tiers, np.arange(len(tiers))].sum()), size))
    structure, gains = structure_of(graph), list[float]()
    for rate in (8 / np.geomspace(1e5, 1e9, bandwidths)).tolist():
        found = partition(PartitionProblem(structure, seconds, np.array([rate]), np.zeros(1)))
        if isinstance(found, Partition):
            gains.append(min(fixed + rate * size for fixed, size in lines) / found.cost - 1)
    return round(max(gains), 6)


def _problem(structure: Structure, seconds: Floats, bandwidth: float) -> PartitionProblem:
    """The last hop has the bandwidth, an earlier one ten times as much."""
    hops = len(seconds) - 1
    rates: Floats = 8 / bandwidth * 0.1 ** np.arange(hops, dtype=np.float64)[::-1]
    return PartitionProblem(structure, seconds, rates, np.full(hops, 0.001))


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of wall-clock and CPU time."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - started) * 1e3, (time.process_time() - busy) * 1e3


def _times(progress: Progress, name: str, graph: Graph, tiers: int, runs: int) -> dict[str, object]:
    seconds = speeds(graph, tiers)
    first, busy, again, whole, inside = [], [], [], list[float](), 0
    kept = structure_of(graph)
    partition(_problem(kept, seconds, 1e6))
    bandwidths = np.random.default_rng(3).uniform(np.log(5e5), np.log(1e7), runs)
    gc.collect()
    gc.freeze()  # excludes the benchmark's own objects from garbage collections during the measurement
    for bandwidth in np.exp(bandwidths).tolist():
        made = list[Structure]()
        whole.append(_timed(lambda: made.append(structure_of(graph)))[0])  # noqa: B023
        fresh = _problem(made[0], seconds, bandwidth)
        wall, cpu = _timed(lambda problem=fresh: partition(problem))  # type: ignore[misc]
        first.append(wall)
        whole[-1] += wall
        busy.append(cpu)
        known = _problem(kept, seconds, bandwidth)
        again.append(_timed(lambda problem=known: partition(problem))[0])  # type: ignore[misc]
        found = partition(known)
        inside += isinstance(found, Partition) and len(set(found.tier_of_layer)) > 1
    gc.unfreeze()
    figures = {
        f"{name}_ms": round(median(first), 3),
        f"{name}_p99_ms": round(float(np.quantile(first, 0.99)), 3),
        f"{name}_cpu_ms": round(median(busy), 3),
        f"{name}_again_ms": round(median(again), 3),
        f"{name}_from_graph_ms": round(median(whole), 3),
        f"{name}_split": round(inside / runs, 2),
    }
    progress(json.dumps(figures))
    return dict(figures)


def _structures(graph: Graph, runs: int) -> list[float]:
    return [_timed(lambda: structure_of(graph))[0] for _ in range(runs)]


def _against_networkx(progress: Progress, name: str, graph: Graph, runs: int) -> dict[str, object]:
    """Two tiers without fixed costs; both start from the same arrays and rebuild their network.

    …_from_graph: the time for these arrays (and what the planner prepares with them) is added to both.
    """
    seconds = speeds(graph, 2)
    ratios, whole, theirs = [], [], []
    for bandwidth in np.geomspace(5e5, 1e7, runs + 2)[1:-1].tolist():
        rate = 8 / bandwidth
        structure, costs = structure_of(graph), list[float]()
        other = _timed(lambda s=structure, r=rate, c=costs: c.append(_networkx(s, seconds, r)))[0]  # type: ignore[misc]
        arrays = median(_structures(graph, 5))
        mine = []
        for _ in range(5):
            problem = PartitionProblem(structure_of(graph), seconds, np.array([rate]), np.zeros(1))
            mine.append(_timed(lambda p=problem: partition(p))[0])  # type: ignore[misc]
            found = partition(problem)
            if isinstance(found, Unpartitionable) or abs(found.cost - costs[0]) > 1e-6 * costs[0]:
                raise AssertionError(f"networkx: {costs[0]} s, the planner: {found}")
        ratios.append(other / median(mine))
        whole.append((other + arrays) / (median(mine) + arrays))
        theirs.append(other)
        progress(f"networkx at {bandwidth:.0f} bit/s: {other:.0f} ms, {ratios[-1]:.0f} times ours")
    return {
        name: round(median(ratios), 1),
        f"{name}_from_graph": round(median(whole), 1),
        f"{name}_their_ms": round(median(theirs), 1),
    }


def _networkx(structure: Structure, seconds: Floats, rate: float) -> float:
    """DADS' network: a layer is a node, a tensor with several readers another; unbounded edges hold order."""
    made: nx.DiGraph[Any] = nx.DiGraph()
    head, tail = seconds.tolist()
    for v in range(len(structure.layers)):
        made.add_edge("entry", v, capacity=tail[v])
        made.add_edge(v, "remote", capacity=head[v])
    producers = ["entry" if p < 0 else p for p in structure.producer.tolist()]
    readers: dict[int, list[int]] = {}
    for tensor, reader in zip(structure.tensor_of.tolist(), structure.reader.tolist(), strict=True):
        readers.setdefault(tensor, []).append(reader)
    for tensor, every in readers.items():
        source, cost = producers[tensor], rate * float(structure.size[tensor])
        node = every[0] if len(every) == 1 else f"tensor {tensor}"
        if made.has_edge(source, node):  # beside what the layer costs, or another tensor between the two
            made[source][node]["capacity"] += cost
        else:
            made.add_edge(source, node, capacity=cost)
        for reader in every:
            if len(every) > 1:
                made.add_edge(node, reader)
            if source != "entry":
                made.add_edge(reader, source)
    return float(nx.minimum_cut(made, "entry", "remote")[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(lambda line: print(line, file=sys.stderr), quick=parser.parse_args().quick)))
