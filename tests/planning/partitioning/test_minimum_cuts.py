from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning.graphs.values import Graph, Layer, Tensor
from edge_planning.partitioning import (
    Partition,
    PartitionProblem,
    Unpartitionable,
    envelope_cuts,
    partition,
    structure_of,
)


def _graph(reads: list[tuple[str, ...]], sizes: list[int]) -> Graph:
    """Layer i computes ti; x is the input; the last tensor is the output."""
    names = ["x", *(f"t{i}" for i in range(len(reads)))]
    layers = tuple(Layer(f"l{i}", "a", ins, (f"t{i}",), 1.0, 0, 1, 1) for i, ins in enumerate(reads))
    tensors = {n: Tensor(n, (size,), size, size) for n, size in zip(names, sizes, strict=True)}
    return Graph("small", ("x",), (names[-1],), layers, tensors)


def _random(seed: int, most: int = 5) -> Graph:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, most + 1))
    reads = []
    for i in range(count):
        before = ["x", *(f"t{j}" for j in range(i))]
        reads.append(tuple(rng.choice(before, min(len(before), int(rng.integers(1, 3))), replace=False)))
    return _graph(reads, rng.integers(1, 100, count + 1).tolist())


def _cost(p: PartitionProblem, graph: Graph, tiers: tuple[int, ...]) -> float:
    """By the definition; infinite if data would flow back or memory is insufficient."""
    made = {"x": 0} | {f"t{i}": tier for i, tier in enumerate(tiers)}
    if any(made[name] > tiers[i] for i, layer in enumerate(graph.layers) for name in layer.inputs):
        return np.inf
    stages = [sum(p.seconds[k, i] for i, t in enumerate(tiers) if t == k) for k in range(len(p.seconds))]
    if p.memory is not None and p.limits is not None:
        for k, limit in enumerate(p.limits):
            if sum(p.memory[i] for i, t in enumerate(tiers) if t == k) > limit:
                return np.inf
    for hop in range(len(p.hop_fixed)):
        size = 0
        for name, tier in made.items():
            reached = [tiers[i] for i, layer in enumerate(graph.layers) if name in layer.inputs]
            size += graph.tensors[name].size * (tier <= hop < max(reached, default=0))
        size += p.returned * graph.tensors[graph.outputs[0]].size * (made[graph.outputs[0]] > hop)
        stages.append(size * p.hop_seconds_per_byte[hop] + p.hop_fixed[hop] * (max(tiers) > hop))
    return float(sum(stages) if p.objective == "latency" else max(stages))


@settings(max_examples=80)
@given(
    st.integers(0, 2**32), st.sampled_from([2, 3]), st.sampled_from(["latency", "bottleneck"]), st.booleans()
)
def test_no_assignment_beats_the_partition(
    seed: int, tiers: int, objective: Literal["latency", "bottleneck"], limited: bool
) -> None:
    graph, rng = _random(seed), np.random.default_rng(seed)
    count = len(graph.layers)
    memory = rng.uniform(1, 5, count) if limited else None
    limits = None if memory is None else memory.sum() * rng.uniform(0.3, 0.9, tiers)
    problem = PartitionProblem(
        structure_of(graph),
        rng.uniform(0, 5, (tiers, count)),
        rng.uniform(0, 0.05, tiers - 1),
        rng.uniform(0, 1, tiers - 1),
        bool(seed % 2),
        memory,
        limits,
        objective=objective,
    )
    best = min(_cost(problem, graph, one) for one in product(range(tiers), repeat=count))
    found = partition(problem)
    if isinstance(found, Unpartitionable):
        assert best == np.inf
        return
    assert found.cost == pytest.approx(_cost(problem, graph, found.tier_of_layer))
    assert found.cost == pytest.approx(best, rel=1e-6)
    assert found.bound <= best * (1 + 1e-6)
    assert found.exact


def test_a_tensor_with_two_readers_crosses_once() -> None:
    graph = _graph([("x",), ("t0",), ("t0",), ("t1", "t2")], [1000, 10, 10, 10, 1])
    seconds = np.array([[1.0, 9, 9, 9], [1.0, 1, 1, 1]])
    found = partition(PartitionProblem(structure_of(graph), seconds, np.array([0.1]), np.array([0.5])))
    assert isinstance(found, Partition)
    assert found.tier_of_layer == (0, 1, 1, 1)
    assert found.crossing == (("t0",),)
    assert found.compute == 4.0
    assert found.transfer == pytest.approx(1.5)  # 10 bytes once, and 0.5 s for the hop


def test_fixed_layers_stay_and_contradictions_are_reported() -> None:
    graph = _graph([("x",), ("t0",)], [1, 1, 1])
    structure, seconds = structure_of(graph), np.array([[1.0, 1], [5.0, 5]])
    found = partition(PartitionProblem(structure, seconds, np.zeros(1), np.zeros(1), fixed={1: 1}))
    assert isinstance(found, Partition)
    assert found.tier_of_layer == (0, 1)
    back = PartitionProblem(structure, seconds, np.zeros(1), np.zeros(1), fixed={0: 1, 1: 0})
    assert isinstance(partition(back), Unpartitionable)


@settings(max_examples=80)
@given(st.integers(0, 2**32))
def test_the_envelope_holds_the_best_cut_of_every_bandwidth(seed: int) -> None:
    graph, rng = _random(seed), np.random.default_rng(seed)
    count = len(graph.layers)
    structure = structure_of(graph)
    head, tail = rng.uniform(0, 5, (2, count))
    needed = {graph.outputs[0]}
    for layer in reversed(graph.layers):
        if layer.outputs[0] in needed:
            needed.update(layer.inputs)
    if any(layer.outputs[0] not in needed for layer in graph.layers):
        return  # the seconds of the envelope exclude layers that lead elsewhere
    cuts = envelope_cuts(graph, graph.outputs[0], head, tail)
    assert cuts[0].tensors == ("x",)
    assert cuts[0].tail_seconds == pytest.approx(tail.sum())
    for rate in np.geomspace(1e-4, 10, 12):
        problem = PartitionProblem(structure, np.stack([head, tail]), np.array([rate]), np.zeros(1))
        ways = ((*one, 1) for one in product(range(2), repeat=count - 1))
        best = min(_cost(problem, graph, one) for one in ways)
        offered = min(cut.head_seconds + cut.tail_seconds + rate * cut.size for cut in cuts)
        assert offered == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_seconds_that_make_no_sense_are_named(value: float) -> None:
    structure = structure_of(_graph([("x",)], [1, 1]))
    with pytest.raises(BadValueError, match="seconds: "):
        PartitionProblem(structure, np.array([[value], [1.0]]), np.zeros(1), np.zeros(1))


def test_a_cycle_is_named() -> None:
    with pytest.raises(BadValueError, match=r"t1 .*layer l0\b"):
        structure_of(_graph([("x", "t1"), ("t0",)], [1, 1, 1]))
