"""Routes by change-point forecasts in the simulator: route table, re-planning, fallback."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import EntryProblem, Infeasible, RouteTable, Slo, Tables, candidates, plan_entry
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import class_profile
from edge_planning_lab.alexnet import alexnet
from edge_planning_lab.baselines import Measurement, Request, SimulatedCandidates, clairvoyant, options_of
from edge_planning_lab.simulation import (
    Bandwidth,
    Broken,
    ChangePoints,
    Fault,
    LognormalProcess,
    RequestOutcome,
    SimulationRun,
    constant,
    simulate,
    summary,
)

from .conftest import make_scenario


def planned(deadline: float) -> tuple[SimulatedCandidates, RouteTable]:
    model = alexnet()
    device, server = class_profile(model, RASPBERRY_PI_3), class_profile(model, DESKTOP)
    problem = EntryProblem(model, device, server, 0.005, Slo(deadline), tables=Tables(safety=1.0))
    plan = plan_entry(problem)
    assert not isinstance(plan, Infeasible)
    return options_of(candidates(problem), deadline), plan.table


def run(
    policy: ChangePoints, options: SimulatedCandidates, link: Bandwidth, seconds: float = 60.0, **more: Any
) -> SimulationRun:
    arrivals = constant(1.0, seconds, 0.3).tolist()
    return simulate(make_scenario(policy, arrivals, options, link, duration=seconds + 5, **more))


def test_on_a_steady_fast_link_every_response_is_the_full_models() -> None:
    options, table = planned(0.2)
    found = summary(run(ChangePoints(table), options, Bandwidth.constant(5e6)).records)
    assert found.attainment == 1.0
    assert found.accuracy > 0.775  # the first request meets an unknown link
    assert found.switches <= 1


def test_without_a_link_the_local_exit_answers_everything() -> None:
    options, table = planned(0.2)
    found = summary(run(ChangePoints(table), options, Bandwidth.constant(0.0)).records)
    assert [found.attainment, found.accuracy] == pytest.approx([1.0, 0.68])


@pytest.mark.parametrize("kind", [Broken.LINK, Broken.SERVER])
def test_with_the_fallback_no_request_is_missed_when_the_server_fails(kind: Broken) -> None:
    options, table = planned(0.2)
    name = {Broken.LINK: "up", Broken.SERVER: "triton"}[kind]
    fault = Fault(kind, name, 20.4, 40.4)
    with_fallback = run(ChangePoints(table), options, Bandwidth.constant(5e6), faults=[fault]).records
    assert set(with_fallback.outcome.tolist()) == {RequestOutcome.IN_TIME}
    assert summary(with_fallback).fallbacks >= 1
    waiting = ChangePoints(table, has_fallback=False, name="ours_wait")
    plain = run(waiting, options, Bandwidth.constant(5e6), faults=[fault]).records
    assert int((plain.outcome != RequestOutcome.IN_TIME).sum()) >= 1


def test_where_the_local_exit_is_too_slow_there_is_no_fallback() -> None:
    options, table = planned(0.1)
    state = ChangePoints(table).start(options)
    assert set(state.fallbacks) == {None}
    state = ChangePoints(planned(0.3)[1]).start(planned(0.3)[0])
    assert {planned(0.3)[0].names[i] for i in state.fallbacks if i is not None} == {"exit2@local"}


def test_one_who_waits_behind_others_is_decided_by_what_is_left_of_its_time() -> None:
    options, table = planned(0.3)
    policy = ChangePoints(table)
    state = policy.start(options)
    for moment in range(10):
        state = policy.observe(Measurement(0.1, 3e5), state, float(moment))
    free, _ = policy.decide(Request(options), state, 10.0)
    assert options.names[free.index] == "exit5@image"
    behind_bits, _ = policy.decide(Request(options, backlog=3e6), state, 10.0)
    assert options.bits[behind_bits.index] == 0 or behind_bits.fallback is not None
    busy_node, _ = policy.decide(Request(options, wait=0.25), state, 10.0)
    assert options.names[busy_node.index] == "exit5@image"


@given(seed=st.integers(0, 1000), deadline=st.sampled_from([0.1, 0.2, 0.4]))
@settings(max_examples=8)
def test_the_fallback_never_lowers_utility_and_no_policy_beats_the_clairvoyant(
    seed: int, deadline: float
) -> None:
    options, table = planned(deadline)
    link = LognormalProcess().sample(np.random.default_rng(seed), 60.0)
    with_fallback = run(ChangePoints(table), options, link)
    waiting = run(ChangePoints(table, has_fallback=False), options, link)
    bound, _ = clairvoyant(link, options, with_fallback.scenario.streams[0].arrivals)
    assert with_fallback.records.utility.sum() >= waiting.records.utility.sum() - 1e-9
    assert with_fallback.records.utility.sum() <= bound.sum() + 1e-9
    assert summary(with_fallback.records).attainment >= summary(waiting.records).attainment
