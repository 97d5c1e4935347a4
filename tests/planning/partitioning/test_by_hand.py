"""Small networks whose best partition can be found by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.planner.networks import network
from edge_planning.graphs.values import Graph
from edge_planning.partitioning import Partition, PartitionProblem, envelope_cuts, partition, structure_of

Seconds = Sequence[Sequence[float]]


def cut(
    graph: Graph,
    seconds: Seconds,
    rates: Sequence[float],
    hop_fixed: Sequence[float] = (),
    **more: Any,
) -> Partition:
    hops = np.array(hop_fixed) if hop_fixed else np.zeros(len(rates))
    problem = PartitionProblem(structure_of(graph), np.array(seconds), np.array(rates), hops, **more)
    found = partition(problem)
    assert isinstance(found, Partition)
    assert found.exact
    return found


def residual() -> Graph:
    """Stem t0, a block of two branches that shrink (t1, t2; on the shortcut t3), their sum t4, end."""
    return network([["x"], ["t0"], ["t1"], ["t0"], ["t2", "t3"], ["t4"]], [900, 1200, 200, 80, 70, 600, 4])


def test_in_a_residual_block_two_small_tensors_beat_every_single_one() -> None:
    head, tail = [1.0, 1, 1, 1, 8, 8], [0.1, 0.1, 0.1, 0.1, 0.8, 0.8]
    found = cut(residual(), [head, tail], [0.01])
    assert found.tier_of_layer == (0, 0, 0, 0, 1, 1)
    assert found.crossing == (("t2", "t3"),)
    assert found.compute == pytest.approx(4 + 1.6)
    assert found.transfer == pytest.approx(1.5)  # 80 + 70 bytes
    assert found.cost == pytest.approx(7.1)
    # The cuts of one tensor: x, t0, t4; and none at all.
    assert min(9 + 2.0, 1 + 12 + 1.9, 12 + 6 + 0.8, 20.0) == pytest.approx(11)


def test_the_shortcut_of_a_residual_block_crosses_beside_the_branch() -> None:
    # The block's second layer is slow remotely, its end slow here: t0 must cross for the shortcut, too.
    graph = network([["x"], ["t0"], ["t1", "t0"], ["t2"]], [500, 40, 30, 300, 4])
    found = cut(graph, [[1, 1, 9, 9], [0.1, 50, 1, 1]], [0.01])
    assert found.tier_of_layer == (0, 0, 1, 1)
    assert found.crossing == (("t0", "t1"),)
    assert found.cost == pytest.approx(2 + 0.7 + 2)


def test_an_inception_block_is_cut_across_its_four_branches() -> None:
    reads = [["x"], ["t0"], ["t0"], ["t2"], ["t0"], ["t4"], ["t0"], ["t1", "t3", "t5", "t6"], ["t7"]]
    graph = network(reads, [1600, 900, 32, 400, 24, 400, 16, 28, 500, 4])
    head = [1.0, 1, 1, 1, 1, 1, 1, 12, 12]
    found = cut(graph, [head, [0.1 * one for one in head]], [0.01])
    assert found.tier_of_layer == (0,) * 7 + (1,) * 2
    assert found.crossing == (("t1", "t3", "t5", "t6"),)
    assert found.transfer == pytest.approx(1.0)  # 32 + 24 + 16 + 28 bytes
    assert found.cost == pytest.approx(7 + 1 + 2.4)
    # The cuts of one tensor: x, t0, t7; and none at all.
    assert min(16 + 3.1, 1 + 9 + 3.0, 19 + 5 + 1.2, 31.0) == pytest.approx(13)


def test_a_tensor_that_four_branches_read_is_paid_once() -> None:
    reads = [["x"], ["t0"], ["t0"], ["t0"], ["t0"], ["t1", "t2", "t3", "t4"]]
    graph = network(reads, [1000, 50, 40, 40, 40, 40, 4])
    found = cut(graph, [[1, 9, 9, 9, 9, 9], [1.0] * 6], [0.1])
    assert found.crossing == (("t0",),)
    assert found.transfer == pytest.approx(5.0)
    assert found.cost == pytest.approx(6 + 5)


def test_a_tensor_read_at_two_later_tiers_is_paid_once_on_each_hop() -> None:
    graph = network([["x"], ["t0"], ["t0", "t1"]], [7, 100, 30, 4])
    seconds: Seconds = [[1.0, 9, 9], [9, 2, 9], [9, 9, 3]]
    found = cut(graph, seconds, [0.01, 0.02], [0.5, 0.25], fixed={0: 0, 1: 1, 2: 2})
    assert found.crossing == (("t0",), ("t0", "t1"))
    assert found.compute == 6.0
    assert found.transfer == pytest.approx(1 + 0.5 + 2.6 + 0.25)


def test_results_that_travel_back_are_paid_on_every_hop_they_cross() -> None:
    graph = network([["x"], ["t0"]], [10, 20, 50])
    seconds: Seconds = [[1.0, 100], [100, 100], [100, 1]]
    there = cut(graph, seconds, [0.01, 0.02])
    back = cut(graph, seconds, [0.01, 0.02], returned=True)
    assert there.cost == pytest.approx(1 + 1 + 20 * 0.03)
    assert back.cost == pytest.approx(there.cost + 50 * 0.03)


def test_a_fixed_cost_keeps_a_small_gain_at_home() -> None:
    graph = network([["x"], ["t0"]], [10, 10, 1])
    seconds: Seconds = [[1.0, 1], [0.5, 0.5]]
    assert cut(graph, seconds, [0.01], [0.9]).cost == pytest.approx(2.0)  # 1.1 + 0.9 + … is more
    assert cut(graph, seconds, [0.01], [0.8]).cost == pytest.approx(1 + 0.1 + 0.8)


def test_memory_moves_layers_on_and_the_bottleneck_is_not_the_sum() -> None:
    graph = network([["x"], ["t0"], ["t1"]], [1, 10, 20, 1])
    seconds: Seconds = [[1.0, 1, 1], [2, 2, 2]]
    free = cut(graph, seconds, [0.01])
    assert free.tier_of_layer == (0, 0, 0)
    memory = np.array([4.0, 3, 3])
    tight = cut(graph, seconds, [0.01], memory=memory, limits=np.array([7.0, np.inf]))
    assert tight.tier_of_layer == (0, 0, 1)
    assert tight.cost == pytest.approx(4.2)
    tighter = cut(graph, seconds, [0.01], memory=memory, limits=np.array([6.0, np.inf]))
    assert tighter.tier_of_layer == (0, 1, 1)
    assert tighter.cost == pytest.approx(5.1)
    heavy = cut(graph, seconds, [0.01], objective="bottleneck")
    assert heavy.tier_of_layer == (0, 0, 1)
    assert heavy.cost == pytest.approx(2.0)


def test_the_envelope_of_a_residual_block_has_cuts_of_two_tensors() -> None:
    head, tail = np.array([1.0, 1, 1, 1, 8, 8]), np.array([0.1, 0.1, 0.1, 0.1, 0.8, 0.8])
    found = {one.tensors: one for one in envelope_cuts(residual(), "t5", head, tail)}
    # 2 s + 900 bytes, 4.7 s + 270 bytes, 5.6 s + 150 bytes: each is the minimum somewhere, t0 and t4 nowhere.
    assert list(found) == [("x",), ("t1", "t3"), ("t2", "t3")]
    both = found["t2", "t3"]
    assert both.size == 150
    assert both.head_seconds == pytest.approx(4.0)
    assert both.tail_seconds == pytest.approx(1.6)
