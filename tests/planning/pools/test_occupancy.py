"""What a demand of a planned pool uses, and which of its candidates do not fit beside the others."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.pool_referee import small_pool
from edge_planning import Slo, plan_entry
from edge_planning.plans import Plan
from edge_planning.pools import Observed, PoolNode, PoolProblem, PoolServer, plan_pool
from edge_planning.pools.occupancy import Occupancy
from edge_planning.pools.reservations import Kind, Resource
from tests.planning.pools.test_measured_rates import CPU, two


def roomy(problem: PoolProblem) -> PoolProblem:
    """The pool with few requests, and with room for all."""
    nodes = tuple(PoolNode(one.name, one.device_class, uplink=50e6) for one in problem.nodes)
    demands = tuple(replace(one, rate=0.01) for one in problem.demands)
    return replace(problem, nodes=nodes, servers=(PoolServer("cloud"),), demands=demands)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_uses_of_all_demands_are_those_of_the_plan(seed: int) -> None:
    problem = small_pool(seed)
    plan = plan_pool(problem)
    occupancy = Occupancy(plan)
    seen: dict[Resource, float] = {}
    for one in problem.demands:
        for use in occupancy.uses(one.name):
            assert 0 < use.own <= use.used * (1 + 1e-9)
            assert use.used <= use.capacity * (1 + 1e-6)
            seen[use.resource] = use.used
    used = {resource: amount for resource, amount in plan.used.items() if amount > 0}
    assert seen == pytest.approx(used)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_candidates_that_do_not_fit_need_more_than_is_left(seed: int) -> None:
    problem = small_pool(seed)
    plan = plan_pool(problem)
    occupancy = Occupancy(plan)
    for one in problem.demands:
        for refusal in occupancy.alternatives(one.name, "cloud").unfit.values():
            assert refusal.resource is not None
            assert refusal.asked > refusal.left
            assert one.name not in dict(refusal.users)


def test_with_room_every_candidate_fits_and_the_problem_gives_the_table_again() -> None:
    problem = roomy(small_pool(3))
    plan = plan_pool(problem)
    occupancy = Occupancy(plan)
    for one in problem.demands:
        found = occupancy.alternatives(one.name, "cloud")
        again = plan_entry(found.problem)
        assert found.unfit == {}
        assert isinstance(again, Plan)
        assert again.table.routes[0].name == plan.placed[one.name].plan.table.routes[0].name


def test_a_candidate_for_which_the_node_is_too_busy_names_its_users() -> None:
    problem = small_pool(3)
    problem = replace(
        problem,
        nodes=tuple(replace(one, cpu=1.0, memory=1e9, uplink=1.0) for one in problem.nodes),
        demands=tuple(
            replace(one, rate=18.0, priority=number, problems=(replace(one.problems[0], slo=Slo(1.0)),))
            for number, one in enumerate(each for each in problem.demands if each.node == "edge-a")
        )[:2],
    )
    first, second = (one.name for one in problem.demands)
    found = Occupancy(plan_pool(problem)).alternatives(first, "cloud")
    refusal = found.unfit["full@local"]
    assert refusal.resource == Resource(Kind.CPU, "edge-a")
    assert [name for name, _ in refusal.users] == [second]
    assert found.problem.load.others is not None
    assert found.problem.load.others.rate == pytest.approx(18.0, rel=0.1)


def measured(*rates: float, late: bool) -> PoolProblem:
    """Demands at one node that declare no rate, each with this one measured."""
    problem = small_pool(3)
    (first,) = [one for one in problem.demands if one.node == "edge-a"][:1]
    problems = (replace(first.problems[0], slo=Slo(1.0), remote=None),)
    demands = tuple(
        replace(
            first,
            service=f"s{n}",
            rate=0.01,
            assumed=True,
            problems=problems,
            observed=Observed(rate, late=late),
        )
        for n, rate in enumerate(rates)
    )
    nodes = tuple(replace(one, cpu=1.0, memory=1e9) for one in problem.nodes)
    return replace(problem, nodes=nodes, demands=demands)


def test_the_uses_count_measured_requests() -> None:
    plan = plan_pool(measured(4.0, 6.0, late=False))
    (use,) = (one for one in Occupancy(plan).uses("shop/s0@edge-a") if one.resource.kind is Kind.CPU)
    assert use.own == pytest.approx(4.0 * 0.05)
    assert use.used == pytest.approx(10.0 * 0.05)


def test_requests_that_are_late_wait_for_the_measured_ones_of_others() -> None:
    plan = plan_pool(measured(4.0, 6.0, late=True))
    problem = Occupancy(plan).alternatives("shop/s0@edge-a", None).problem
    assert problem.load.wait > 0


def test_requests_that_are_in_time_do_not_wait_for_the_measured_ones_of_others() -> None:
    plan = plan_pool(measured(4.0, 6.0, late=False))
    assert Occupancy(plan).alternatives("shop/s0@edge-a", None).problem.load.wait == 0


def test_of_measured_requests_those_that_fit_beside_all_others_are_counted() -> None:
    many, few = two(Observed(100.0), Observed(4.0)).demands
    occupancy = Occupancy(plan_pool(two(Observed(100.0), Observed(4.0))))
    found = occupancy.counted(many.name)
    assert found is not None
    assert (found.measured, found.resource) == (100.0, CPU)
    assert found.fitting == pytest.approx(12.0)
    assert occupancy.counted(few.name) is None
    assert Occupancy(plan_pool(two(None, None))).counted(many.name) is None
