"""Requests at a rate: those that wait for each other at a place, and those that the uplink cannot carry."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from edge_planning import (
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    IntermediateNode,
    Load,
    Model,
    Plan,
    Slo,
    Timing,
    candidates,
    choose,
    plan_entry,
)
from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.choosing.route_tables import full_map, useful
from edge_planning.costs.queueing import OVERLOADED, Queue

CUTS = (Cut("image", 100_000), Cut("pool1", 40_000), Cut("pool2", 10_000))
SECONDS = {("image", "pool1"): 0.02, ("pool1", "pool2"): 0.02, ("pool2", "logits"): 0.06}
MODEL = Model("digits", (Exit("full", "logits", 0.98, CUTS),))


def profile(factor: float) -> ClassProfile:
    return ClassProfile("c", {pair: Timing(s * factor, s * factor) for pair, s in SECONDS.items()})


def problem(rate: float) -> EntryProblem:
    load = Load(rate=rate)
    return EntryProblem(MODEL, profile(1.0), profile(0.1), 0.001, Slo(0.3), load=load, remote_load=load)


def test_a_stage_waits_as_long_as_its_queue_says() -> None:
    options = candidates(problem(15.0))
    split = next(i for i in range(len(options)) if options.tensor(i) == "pool2")
    queued = Queue(15.0, np.array([0.04, 0.006]), 0.0).wait_quantile(95)
    assert float(options.queue[split]) == pytest.approx(float(queued.sum()))


def test_a_place_that_cannot_keep_up_never_meets_the_slo() -> None:
    options = candidates(problem(15.0))
    local = int(np.flatnonzero(options.local)[0])
    assert float(options.queue[local]) == OVERLOADED
    assert np.isinf(options.thresholds(0.3)[local])


def test_a_candidate_counts_from_the_bandwidth_at_which_the_uplink_has_room() -> None:
    options = candidates(problem(50.0))
    image = next(i for i in range(len(options)) if options.tensor(i) == "image")
    least = 50.0 * 8 * 100_000 / UPLINK_SHARE
    assert float(options.thresholds(0.3)[image]) == pytest.approx(least)
    assert options.latencies(least * 1.01)[image] < 0.1
    assert options.latencies(least * 0.99)[image] > OVERLOADED


def test_the_map_under_load_is_the_choice_at_each_bandwidth() -> None:
    """The candidates that `useful` leaves out are not chosen anywhere."""
    for rate in (0.0, 5.0, 15.0, 40.0):
        every = candidates(problem(rate))
        kept = useful(every)
        mapped = full_map(kept, 0.3)
        for bandwidth in np.geomspace(1e5, 1e9, 200):
            place = int(np.searchsorted(mapped.starts, bandwidth, side="right")) - 1
            best = choose(every, 0.3, float(bandwidth))
            assert best is not None
            if best.met:
                assert kept.name(int(mapped.index[place])) == every.name(best.index)


def test_a_table_under_load_uses_a_route_only_where_the_uplink_has_room() -> None:
    plan = plan_entry(problem(15.0))
    assert isinstance(plan, Plan)
    for route in plan.table.routes[:-1]:
        assert route.min_bandwidth >= 15.0 * route.bits / UPLINK_SHARE
    assert plan.table.routes[-1].cut is None
    assert plan.table.routes[-1].latency < 1


def test_without_a_rate_nothing_waits() -> None:
    options = candidates(problem(0.0))
    assert not options.queue.any()
    assert not options.least_bandwidth.any()


def test_with_a_rate_at_the_intermediate_node_every_pair_of_cuts_is_a_candidate() -> None:
    near = IntermediateNode("near", profile(0.5), 1e9, load=Load(rate=10.0))
    options = candidates(replace(problem(10.0), intermediates=(near,)))
    pairs = {
        (options.tensor(i), options.second_tensor(i))
        for i in range(len(options))
        if options.intermediate[i] == 0
    }
    names = [cut.name for cut in CUTS]
    assert pairs == {*((a, None) for a in names), *combinations(names, 2)}
