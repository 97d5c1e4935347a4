"""Route tables by objectives other than accuracy, with figures to check by hand."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.chain import instance
from edge_planning import (
    OBJECTIVES,
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Model,
    Plan,
    Prices,
    Slo,
    Timing,
    candidates,
    explain,
    plan_entry,
    rejected,
)
from edge_planning.choosing.route_tables import best_table, useful, value
from edge_planning.costs.energy import LTE
from edge_planning.errors import BadObjectiveError, BadValueError
from edge_planning.objectives import Objective, objective_of
from edge_planning.problems import Tables
from messages import mentions

CUTS = (Cut("image", 400_000), Cut("pool", 100_000))
FULL = Exit("full", "logits", 0.9, CUTS)


def profile(scale: float) -> ClassProfile:
    """100 ms and 200 ms before and behind pool, times the scale; as long at every percentile."""
    times = {("image", "pool"): 0.1, ("pool", "logits"): 0.2}
    return ClassProfile("c", {pair: Timing(s * scale, s * scale) for pair, s in times.items()})


COST = OBJECTIVES["Cost"]
PROBLEM = EntryProblem(
    Model("m", (FULL,)), profile(1), profile(0.1), 0.0, Slo(0.25), node="cam", peer="cloud", objective=COST
)


def planned(problem: EntryProblem) -> Plan:
    plan = plan_entry(problem)
    assert isinstance(plan, Plan)
    return plan


def costs(problem: EntryProblem) -> dict[str, float]:
    return {route.name: route.cost or 0.0 for route in planned(problem).table.routes}


def test_a_request_costs_its_seconds_at_triton_its_traffic_and_its_energy() -> None:
    prices = Prices(triton_second=2.0, uplink_gigabyte=30.0, joule=0.5)
    options = candidates(replace(PROBLEM, prices=prices, active_power=4.0))
    found = {options.name(i): cost for i, cost in enumerate(options.costs(1e9).tolist())}
    assert found == pytest.approx(
        {
            "full@local": 0.3 * 4 * 0.5,
            "full@image": 0.03 * 2 + 4e-4 * 30,
            "full@pool": 0.02 * 2 + 1e-4 * 30 + 0.1 * 4 * 0.5,
        }
    )


def test_the_energy_of_sending_has_a_price_where_a_radio_is_declared() -> None:
    dear = replace(PROBLEM, prices=Prices(joule=1.0), radio=LTE)
    options = candidates(dear)
    np.testing.assert_allclose(options.costs(1e7), options.energies(1e7))
    assert options.costs(1e6)[1] > options.costs(1e7)[1]


def test_a_price_of_traffic_moves_the_cut_behind_the_large_tensor() -> None:
    triton, uplink = Prices(triton_second=1.0, joule=0.1), Prices(uplink_gigabyte=100.0, joule=0.001)
    near = replace(PROBLEM, active_power=10.0)
    first = planned(replace(near, prices=triton)).table.routes[0]
    second = planned(replace(near, prices=uplink)).table.routes[0]
    assert (first.name, second.name) == ("full@image", "full@pool")
    assert first.cost == pytest.approx(0.03)
    assert second.cost == pytest.approx(0.01 + 0.1 * 10 * 0.001)


def test_a_local_route_in_time_costs_nothing_without_a_price_of_energy() -> None:
    slow = replace(PROBLEM, slo=Slo(0.4), prices=Prices(triton_second=1.0))
    assert costs(slow) == {"full@local": 0.0}


def test_a_dearer_route_is_kept_for_bandwidths_at_which_the_cheap_one_is_late() -> None:
    problem = replace(PROBLEM, active_power=10.0, prices=Prices(triton_second=1.0, joule=0.1))
    routes = planned(problem).table.routes
    assert [route.name for route in routes] == ["full@image", "full@pool", "full@local"]
    assert routes[0].cost is not None
    assert routes[1].cost is not None
    assert routes[0].cost < routes[1].cost
    assert routes[0].worth is not None
    assert routes[1].worth is not None
    assert routes[0].worth > routes[1].worth


def test_explanations_say_what_costs_less() -> None:
    problem = replace(PROBLEM, active_power=10.0, prices=Prices(triton_second=1.0, joule=0.1))
    reasons = {line.name: line.reason for line in explain(problem, "m", "cam", 1e9).lines}
    assert reasons["full@image"] is None
    assert reasons["full@pool"] == "full@image costs less"
    few = replace(problem, tables=Tables(routes=2))
    lost = {each.name: each.reason for each in rejected(few, planned(few))}
    assert lost
    assert all("costs less" in reason or "table of 2" in reason for reason in lost.values())


@pytest.mark.parametrize(("name", "fix"), [("Cost", "spec.prices"), ("Energy", "watts or radio")])
def test_an_objective_without_the_values_that_it_needs_is_refused(name: str, fix: str) -> None:
    with pytest.raises(BadObjectiveError, match=fix):
        plan_entry(replace(PROBLEM, objective=OBJECTIVES[name]))


def test_an_unknown_objective_is_refused_by_name() -> None:
    with pytest.raises(BadValueError, match=mentions('"Fame"', "Accuracy")):
        objective_of("Fame")


def test_an_objective_that_no_module_names_is_planned_and_explained() -> None:
    quiet = Objective(
        "Quiet",
        keys=lambda options, _: (-options.latencies(1e9),),
        words=("is calmer",),
        in_time=True,
        worth=lambda options, _: options.latencies(1e9) / options.latencies(1e9).max(),
    )
    problem = replace(PROBLEM, objective=quiet, slo=Slo(0.4))
    assert planned(problem).table.routes[0].name == "full@local"
    reasons = {line.name: line.reason for line in explain(problem, "m", "cam", 1e9).lines}
    assert reasons["full@image"] == "full@local is calmer"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["Cost", "Energy"]))
def test_the_table_has_the_highest_worth_in_time_of_all_tables(seed: int, name: str) -> None:
    problem = replace(instance(np.random.default_rng(seed)), objective=OBJECTIVES[name])
    limits, deadline = Tables(routes=3, least_accuracy=0.0), problem.slo.latency
    options = useful(candidates(problem))
    local = [i for i in range(len(options)) if options.local[i]]
    others = [i for i in range(len(options)) if not options.local[i]][:12]
    reached, _ = value(options, best_table(options, deadline, limits), deadline, limits)
    home: list[list[int]] = [[i] for i in local] or [[]]
    every = [[*h, *more] for h in home for n in (1, 2) for more in combinations(others, n)]
    best = max(value(options, table, deadline, limits)[0] for table in [*every, *filter(None, home)])
    if local:
        assert reached >= best - 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.floats(1e5, 1e8))
def test_no_candidate_that_is_left_out_beats_those_that_are_kept(seed: int, bandwidth: float) -> None:
    problem = replace(instance(np.random.default_rng(seed)), objective=COST)
    every = candidates(problem)
    kept, deadline = useful(every), problem.slo.latency
    in_time = [
        float(options.worth[options.latencies(bandwidth) <= deadline].max(initial=0.0))
        for options in (every, kept)
    ]
    assert in_time[0] == in_time[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9))
def test_routes_are_ordered_by_bandwidth_whatever_the_objective(seed: int) -> None:
    problem = replace(instance(np.random.default_rng(seed)), objective=COST)
    plan = plan_entry(problem)
    assert isinstance(plan, Plan)
    assert all(a.min_bandwidth >= b.min_bandwidth for a, b in pairwise(plan.table.routes))
