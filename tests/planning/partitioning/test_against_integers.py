"""Partitions have the cost found by an independent integer program, and expected properties."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.networks import (
    large_network,
    network,
    random_network,
    random_problem,
    speeds,
    tangled_network,
)
from benchmarks.planner.referees import by_milp, price
from edge_planning.graphs.cuts import chain_cuts
from edge_planning.graphs.values import Graph
from edge_planning.partitioning import (
    Partition,
    PartitionProblem,
    Unpartitionable,
    envelope_cuts,
    partition,
    structure_of,
)

SEEDS = st.integers(0, 2**32)
TIERS = st.sampled_from([2, 3])
Objective = Literal["latency", "bottleneck"]


def cost(problem: PartitionProblem) -> float:
    found = partition(problem)
    return found.cost if isinstance(found, Partition) else np.inf


def drawn(seed: int, tiers: int, most: int = 25) -> tuple[Graph, PartitionProblem]:
    rng = np.random.default_rng(seed)
    graph = random_network(rng, most)
    return graph, random_problem(rng, graph, tiers)


def _equal(graph: Graph, problem: PartitionProblem) -> None:
    found, best = partition(problem), by_milp(graph, problem)
    if isinstance(found, Unpartitionable) or best is None:
        assert isinstance(found, Unpartitionable)
        assert best is None
        return
    wanted = price(graph, problem, best)
    assert found.cost == pytest.approx(price(graph, problem, found.tier_of_layer), rel=1e-9)
    assert found.cost == pytest.approx(wanted, rel=1e-6)
    assert found.bound <= wanted * (1 + 1e-6)
    assert found.exact
    assert found.cost == pytest.approx(
        found.compute + found.transfer if problem.objective == "latency" else found.cost
    )


@settings(max_examples=300)
@given(SEEDS, TIERS)
def test_a_partition_costs_what_the_integer_program_finds(seed: int, tiers: int) -> None:
    _equal(*drawn(seed, tiers))


@settings(max_examples=80)
@given(SEEDS, TIERS, st.sampled_from(["latency", "bottleneck"]), st.booleans())
def test_so_it_does_under_memory_limits_and_for_the_bottleneck(
    seed: int, tiers: int, objective: Objective, limited: bool
) -> None:
    rng = np.random.default_rng(seed)
    graph = random_network(rng, 15)
    _equal(graph, random_problem(rng, graph, tiers, objective, limited=limited))


@settings(max_examples=80)
@given(SEEDS, TIERS)
def test_more_bandwidth_never_costs_more(seed: int, tiers: int) -> None:
    _, problem = drawn(seed, tiers)
    rates = problem.hop_seconds_per_byte
    costs = [cost(replace(problem, hop_seconds_per_byte=rates / factor)) for factor in (0.3, 1, 1.5, 20, 1e6)]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(costs))


@settings(max_examples=80)
@given(SEEDS, TIERS, st.floats(1e-6, 1e6))
def test_scaling_all_costs_scales_the_cost(seed: int, tiers: int, factor: float) -> None:
    _, problem = drawn(seed, tiers)
    scaled = replace(
        problem,
        seconds=problem.seconds * factor,
        hop_seconds_per_byte=problem.hop_seconds_per_byte * factor,
        hop_fixed=problem.hop_fixed * factor,
    )
    assert cost(scaled) == pytest.approx(cost(problem) * factor, rel=1e-6)


@settings(max_examples=60)
@given(SEEDS)
def test_a_further_tier_never_costs_more(seed: int) -> None:
    _, problem = drawn(seed, 3)
    problem = replace(problem, fixed={})
    fewer = replace(
        problem,
        seconds=problem.seconds[:2],
        hop_seconds_per_byte=problem.hop_seconds_per_byte[:1],
        hop_fixed=problem.hop_fixed[:1],
    )
    assert cost(problem) <= cost(fewer) * (1 + 1e-9)
    local = float(problem.seconds[0].sum())
    assert cost(fewer) <= local * (1 + 1e-9)


@settings(max_examples=60)
@given(SEEDS, TIERS)
def test_the_same_problem_has_the_same_partition(seed: int, tiers: int) -> None:
    assert partition(drawn(seed, tiers)[1]) == partition(drawn(seed, tiers)[1])


@settings(max_examples=40)
@given(SEEDS, TIERS)
def test_less_memory_never_costs_less_and_is_never_exceeded(seed: int, tiers: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_network(rng, 12)
    problem = random_problem(rng, graph, tiers, limited=True)
    assert problem.memory is not None
    assert problem.limits is not None
    before = cost(replace(problem, memory=None, limits=None))
    for factor in (4.0, 1.0, 0.8):
        limits = problem.limits * factor
        found = partition(replace(problem, limits=limits))
        if isinstance(found, Unpartitionable):
            assert found.proven
            assert found.reasons
            assert by_milp(graph, replace(problem, limits=limits)) is None
            return
        used = np.bincount(found.tier_of_layer, problem.memory, tiers)
        assert (used <= limits).all()
        assert found.cost >= before * (1 - 1e-9)
        before = found.cost


def knapsack() -> tuple[PartitionProblem, float]:
    """Thirty parallel layers of which the first tier has memory for half the bytes; and the minimum cost."""
    memory = np.random.default_rng(0).integers(100, 1000, 30)
    graph = network([["x"]] * 30, [4] * 31)
    limit = int(memory.sum()) // 2
    spared = np.zeros(limit + 1)  # maximum seconds saved by this many bytes
    for size in memory.tolist():
        spared[size:] = np.maximum(spared[size:], spared[:-size] + size + 100)
    seconds = np.stack([np.zeros(30), memory + 100.0])
    limits = np.array([limit, np.inf])
    problem = PartitionProblem(
        structure_of(graph), seconds, np.zeros(1), np.zeros(1), memory=memory.astype(float), limits=limits
    )
    return problem, float(seconds[1].sum() - spared[-1])


def test_a_search_that_ends_early_tells_how_far_it_is_from_proven() -> None:
    problem, least = knapsack()
    whole = partition(problem)
    assert isinstance(whole, Partition)
    assert whole.exact
    assert whole.cost == pytest.approx(least, rel=1e-6)
    assert least == 9721
    unfinished = 0
    for nodes in (0, 1):
        ended = partition(problem, nodes)
        if isinstance(ended, Unpartitionable):
            assert not ended.proven
            assert len(ended.reasons) == 1
            unfinished += 1
            continue
        assert ended.bound <= least * (1 + 1e-6)
        assert ended.cost >= least * (1 - 1e-6)
        assert ended.exact == (ended.bound >= ended.cost * (1 - 1e-6))
        unfinished += not ended.exact
    assert unfinished


@pytest.mark.parametrize("tiers", [2, 3])
@pytest.mark.parametrize("build", [large_network, tangled_network])
def test_a_large_networks_partition_is_the_referees(build: object, tiers: int) -> None:
    assert callable(build)
    graph = build(np.random.default_rng(tiers), 150)
    seconds = speeds(graph, tiers)
    for bandwidth in (3e5, 1e6):
        rates = 8 / bandwidth * np.array([0.1, 1.0])[3 - tiers :]
        _equal(graph, PartitionProblem(structure_of(graph), seconds, rates, np.full(tiers - 1, 0.001)))


def test_in_the_tangled_network_no_tensor_but_the_input_is_a_cut() -> None:
    graph = tangled_network(np.random.default_rng(2), 300)
    assert chain_cuts(graph, "t299") == (("x",),)
    seconds = speeds(graph, 2)
    cuts = envelope_cuts(graph, "t299", seconds[0], seconds[1])
    assert max(len(one.tensors) for one in cuts) > 1
    for bandwidth in np.geomspace(1e5, 1e8, 12):
        problem = PartitionProblem(structure_of(graph), seconds, np.array([8 / bandwidth]), np.zeros(1))
        offered = [one.head_seconds + one.tail_seconds + one.size * 8 / bandwidth for one in cuts]
        assert min(*offered, seconds[0].sum()) == pytest.approx(cost(problem), rel=1e-6)
