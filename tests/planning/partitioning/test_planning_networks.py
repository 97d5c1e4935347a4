"""The planner for chains plans networks: the best cuts of several tensors are additional candidates."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.graphs.catalogue import build
from benchmarks.planner.networks import blocks, network, random_network
from edge_planning import (
    OBJECTIVES,
    Candidates,
    Cut,
    EntryProblem,
    Exit,
    Model,
    Objective,
    Plan,
    Slo,
    Tables,
    candidates,
    choose,
    plan_entry,
)
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import layer_times
from edge_planning.graphs.cuts import chain_cuts, on_the_way
from edge_planning.graphs.onnx_reading import read_model
from edge_planning.graphs.values import Graph
from edge_planning.partitioning import Partition, PartitionProblem, partition, structure_of
from edge_planning.partitioning.models import graph_problem

BANDWIDTHS = np.geomspace(1e5, 1e9, 10).tolist()
RTT, OVERHEAD, HOP = 0.012, 0.003, 0.004


def exits_of(graph: Graph, outputs: dict[str, tuple[str, float]]) -> tuple[Exit, ...]:
    found = []
    for name, (output, accuracy) in outputs.items():
        cuts = [
            Cut(tensors, sum(graph.tensors[one].size for one in tensors))
            for tensors in chain_cuts(graph, output)
        ]
        found.append(Exit(name, output, accuracy, tuple(cuts)))
    return tuple(found)


@cache
def problem(name: str) -> EntryProblem:
    """A real network at Edgent's Raspberry Pi, and its desktop at the other end."""
    model = read_model(
        build(name), name=name, exits=[{"name": "final", "output": "logits", "accuracy": 0.76}]
    )
    return asked(model)


def asked(model: Model, objective: Objective = OBJECTIVES["Latency"], slo: float = 1.0) -> EntryProblem:
    return EntryProblem(
        *graph_problem(model, RASPBERRY_PI_3, DESKTOP),
        rtt=RTT,
        slo=Slo(slo),
        objective=objective,
        local_overhead=OVERHEAD,
        hop_overhead=HOP,
        tables=Tables(safety=1.0),
    )


def least(graph: Graph, output: str, bandwidth: float) -> float:
    """Seconds of the best partition on the path to an output, and the other costs of a request."""
    _, numbers = on_the_way(graph, output)
    seconds = [
        [one.seconds for n, one in enumerate(layer_times(graph, place)) if n in set(numbers)]
        for place in (RASPBERRY_PI_3, DESKTOP)
    ]
    rates, fixed = np.array([8 / bandwidth]), np.array([RTT + HOP])
    found = partition(PartitionProblem(structure_of(graph, numbers, output), np.array(seconds), rates, fixed))
    assert isinstance(found, Partition)
    return found.cost + OVERHEAD


def fastest(options: Candidates, bandwidth: float) -> float:
    choice = choose(options, 1.0, bandwidth, OBJECTIVES["Latency"])
    assert choice is not None
    return choice.latency


@pytest.mark.parametrize("name", ["resnet50", "inception_v3"])
def test_the_fastest_candidate_of_a_real_network_is_its_best_partition(name: str) -> None:
    given = problem(name)
    options = candidates(given)
    assert given.model.graph is not None
    for bandwidth in BANDWIDTHS:
        wanted = least(given.model.graph, "logits", bandwidth)
        assert fastest(options, bandwidth) == pytest.approx(wanted, rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_the_fastest_candidate_of_a_random_network_is_its_best_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_network(rng, work=2e8)
    output = graph.outputs[0]
    model = Model("random", exits_of(graph, {"final": (output, 0.9)}), graph)
    options = candidates(asked(model))
    for bandwidth in BANDWIDTHS:
        assert fastest(options, bandwidth) == pytest.approx(least(graph, output, bandwidth), rel=1e-6)


def test_a_cut_of_two_tensors_is_chosen_where_it_is_the_fastest() -> None:
    reads = [["x"], ["t0"], ["t1"], ["t0"], ["t2", "t3"], ["t4"]]
    heavy = RASPBERRY_PI_3.flops_per_second  # FLOPs of a second on the Pi
    flops = [heavy * one for one in (0.01, 0.01, 0.01, 0.01, 5, 5)]
    graph = network(reads, [900_000, 1_200_000, 600_000, 8000, 7000, 600_000, 40], flops)
    given = asked(Model("block", exits_of(graph, {"final": ("t5", 0.9)}), graph))
    options = candidates(given)
    choice = choose(options, 1.0, 1e6, OBJECTIVES["Latency"])
    assert choice is not None
    assert options.name(choice.index) == "final@t2+t3"
    assert options.bits[choice.index] == 15_000 * 8
    assert choice.latency == pytest.approx(least(graph, "t5", 1e6), rel=1e-9)


def residual_with_exits() -> Model:
    """Blocks, three of which end in a branch of two layers that leads to an output."""
    rng = np.random.default_rng(8)
    reads = blocks(rng, 60, ["x"])
    trunk = [f"t{n}" for n in range(60)]
    cuts = [name for name in trunk if sum(name in one for one in reads) and alone(reads, name)]
    outputs = {}
    for number, share in enumerate((0.25, 0.5, 0.75)):
        reads += [[cuts[int(share * len(cuts))]], [f"t{len(reads)}"]]
        outputs[f"exit{number}"] = (f"t{len(reads) - 1}", 0.6 + 0.1 * number)
    outputs["final"] = ("t59", 0.9)
    sizes = [600_000, *(int(800_000 * 0.5 ** (n / 8)) + 40 for n in range(60)), *[400] * 6]
    flops = [*rng.lognormal(17.5, 0.7, 60).tolist(), *[1e6] * 6]
    graph = network(reads, sizes, flops, outputs=[output for output, _ in outputs.values()])
    return Model("exits", exits_of(graph, outputs), graph)


def alone(reads: list[list[str]], name: str) -> bool:
    """Whether no tensor computed before this one is read after it."""
    number = int(name[1:])
    return all(one == "x" or int(one[1:]) >= number for ins in reads[number + 1 :] for one in ins)


@pytest.mark.parametrize("slo", [0.15, 0.3, 0.6, 1.2])
def test_a_residual_networks_choice_keeps_edgents_rule(slo: float) -> None:
    """The most accurate exit whose best partition meets the deadline; the fastest if none does."""
    model = residual_with_exits()
    graph = model.graph
    assert graph is not None
    options = candidates(asked(model, OBJECTIVES["Accuracy"], slo))
    seen = set()
    for bandwidth in np.geomspace(2e5, 5e8, 40).tolist():
        times = {e.name: least(graph, e.end, bandwidth) for e in model.exits}
        in_time = [e for e in model.exits if times[e.name] <= slo]
        choice = choose(options, slo, bandwidth)
        assert choice is not None
        exit_ = model.exits[int(options.exit[choice.index])].name
        if in_time:
            assert exit_ == max(in_time, key=lambda e: e.accuracy).name
        else:
            assert exit_ == min(times, key=lambda name: times[name])
        seen.add(exit_)
    limited = plan_entry(asked(model, OBJECTIVES["Accuracy"], slo))
    assert isinstance(limited, Plan)
    assert sum(route.cut is not None for route in limited.table.routes) <= 3
    assert limited.table.loss >= 0.0
    assert {route.exit for route in limited.table.routes} <= {e.name for e in model.exits}
    assert len(seen) > 1 or slo == 1.2
