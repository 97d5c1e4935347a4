"""Invalid partitioning problems are rejected with a message that names the value."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.planner.networks import network
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.errors import BadValueError
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.values import Graph
from edge_planning.partitioning import (
    Partition,
    PartitionProblem,
    Unpartitionable,
    envelope_cuts,
    partition,
    structure_of,
)
from edge_planning.partitioning.models import graph_problem
from messages import mentions

NAN, INF = float("nan"), float("inf")


def diamond() -> Graph:
    return network([["x"], ["t0"], ["t0"], ["t1", "t2"]], [400, 300, 40, 20, 4])


def problem(**changes: Any) -> PartitionProblem:
    given: Mapping[str, Any] = {
        "seconds": np.array([[1.0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]]),
        "hop_seconds_per_byte": np.array([0.01]),
        "hop_fixed": np.array([0.1]),
    }
    return PartitionProblem(structure_of(diamond()), **{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": np.ones((2, 3))}, r"seconds: shape \(2, 3\).* 4 layers"),
        ({"seconds": np.ones(4)}, r"seconds: shape \(4,\).* 4 layers"),
        ({"seconds": np.ones((3, 4))}, r"hop_seconds_per_byte: shape \(1,\), not \(2,\)"),
        ({"seconds": np.array([[1.0, -2, 1, 1], [1, 1, 1, 1]])}, r"seconds: \[-2\.\]"),
        ({"seconds": np.array([[1.0, NAN, 1, 1], [1, 1, 1, 1]])}, r"seconds: \[nan\]"),
        ({"hop_seconds_per_byte": np.zeros(2)}, r"hop_seconds_per_byte: shape \(2,\), not \(1,\)"),
        ({"hop_seconds_per_byte": np.array([-0.5])}, r"hop_seconds_per_byte: \[-0\.5\]"),
        ({"hop_seconds_per_byte": np.array([INF])}, r"hop_seconds_per_byte: \[inf\]"),
        ({"hop_fixed": np.zeros((1, 1))}, r"hop_fixed: shape \(1, 1\), not \(1,\)"),
        ({"hop_fixed": np.array([NAN])}, r"hop_fixed: \[nan\]"),
        ({"memory": np.ones(4)}, "memory and limits: "),
        ({"limits": np.ones(2)}, "memory and limits: "),
        ({"memory": np.ones(3), "limits": np.ones(2)}, r"memory: shape \(3,\), not \(4,\)"),
        ({"memory": np.ones(4), "limits": np.ones(3)}, r"limits: shape \(3,\), not \(2,\)"),
        ({"memory": np.array([1.0, -1, 1, 1]), "limits": np.ones(2)}, "memory: "),
        ({"memory": np.ones(4), "limits": np.array([NAN, 1])}, "limits: "),
        ({"memory": np.full(4, INF), "limits": np.ones(2)}, "memory: "),
        ({"fixed": {4: 0}}, "fixed: no layer 4 at tier 0"),
        ({"fixed": {-1: 0}}, "fixed: no layer -1 at tier 0"),
        ({"fixed": {1: 2}}, "fixed: no layer 1 at tier 2"),
    ],
)
def test_a_bad_value_of_a_problem_is_named(changes: Mapping[str, Any], words: str) -> None:
    with pytest.raises(BadValueError, match=words):
        problem(**changes)


def test_a_network_out_of_order_or_with_a_cycle_is_named() -> None:
    good = diamond()
    first, second, *others = good.layers
    with pytest.raises(BadValueError, match=r"t0 .*layer l1\b"):
        structure_of(replace(good, layers=(second, first, *others)))
    loop = replace(first, inputs=("x", "t3"))
    with pytest.raises(BadValueError, match=r"t3 .*layer l0\b"):
        structure_of(replace(good, layers=(loop, second, *others)))


def test_tensors_that_nothing_makes_are_named() -> None:
    good = diamond()
    with pytest.raises(BadValueError, match=r"l0: .*\bx\b"):
        structure_of(replace(good, inputs=()))
    with pytest.raises(BadValueError, match="output t9"):
        structure_of(replace(good, outputs=("t9",)))


@pytest.mark.parametrize("size", [-1, NAN])
def test_a_tensors_size_that_makes_no_sense_is_refused(size: float) -> None:
    good = diamond()
    tensors = {**good.tensors, "t1": replace(good.tensors["t1"], size=size)}  # type: ignore[arg-type]
    with pytest.raises(BadValueError, match="size of a tensor"):
        structure_of(replace(good, tensors=tensors))


def test_an_envelope_needs_an_output_that_an_input_leads_to() -> None:
    good, ones = diamond(), np.ones(4)
    with pytest.raises(BadValueError, match=mentions("t9")):
        envelope_cuts(good, "t9", ones, ones)
    apart = replace(good, layers=tuple(replace(one, inputs=()) for one in good.layers))
    with pytest.raises(BadValueError, match=r"output t3\b"):
        envelope_cuts(apart, "t3", ones, ones)
    with pytest.raises(BadValueError, match=r"head_seconds: shape \(3,\)"):
        envelope_cuts(good, "t3", np.ones(3), ones)
    with pytest.raises(BadValueError, match=r"seconds: \[-1\.\]"):
        envelope_cuts(good, "t3", ones, -ones)
    with pytest.raises(BadValueError, match=r"seconds: \[nan\]"):
        envelope_cuts(good, "t3", np.full(4, NAN), ones)


def test_a_model_without_a_graph_or_with_a_cut_that_does_not_separate_is_refused() -> None:
    exit_ = Exit("final", "t3", 0.9, (Cut("x", 400), Cut("t0", 300)))
    with pytest.raises(BadValueError, match="model bare: no graph"):
        graph_problem(Model("bare", (exit_,)), RASPBERRY_PI_3, DESKTOP)
    leaky = replace(exit_, cuts=(Cut("x", 400), Cut("t1", 40)))
    with pytest.raises(BadValueError, match=r"t1 .*does not separate .*t3"):
        graph_problem(Model("leaky", (leaky,), diamond()), RASPBERRY_PI_3, DESKTOP)
    elsewhere = replace(exit_, cuts=(Cut("x", 400), Cut("t7", 40)))
    with pytest.raises(BadValueError, match=mentions("t7")):
        graph_problem(Model("elsewhere", (elsewhere,), diamond()), RASPBERRY_PI_3, DESKTOP)


def test_what_fits_nowhere_is_a_result_with_its_reason() -> None:
    memory = np.array([4.0, 3, 2, 1])
    short = partition(problem(memory=memory, limits=np.array([3.0, 4.0])))
    assert isinstance(short, Unpartitionable)
    assert "lack 3 bytes" in short.reasons[0]
    pinned = partition(problem(memory=memory, limits=np.array([3.0, 100.0]), fixed={0: 0}))
    assert isinstance(pinned, Unpartitionable)
    assert pinned.reasons[0].startswith("tier 0 lacks 1 bytes")
    # 4 + 9 bytes are enough for 12, but only the last, small layers would fit into the first tier.
    lumpy = partition(problem(memory=np.array([5.0, 5, 1, 1]), limits=np.array([4.0, 9.0])))
    assert isinstance(lumpy, Unpartitionable)
    assert lumpy.proven
    backwards = partition(problem(fixed={0: 1, 3: 0}))
    assert isinstance(backwards, Unpartitionable)
    assert "earlier tier" in backwards.reasons[0]


def test_one_tier_alone_has_no_hop() -> None:
    found = partition(
        problem(seconds=np.ones((1, 4)), hop_seconds_per_byte=np.zeros(0), hop_fixed=np.zeros(0))
    )
    assert isinstance(found, Partition)
    assert found.tier_of_layer == (0, 0, 0, 0)
    assert found.crossing == ()
    assert found.cost == 4.0


def test_costs_of_zero_are_costs() -> None:
    found = partition(problem(seconds=np.zeros((2, 4))))
    assert isinstance(found, Partition)
    assert found.cost == 0.0
    assert found.exact
