"""Plans that follow one another: what must not change, and that plans settle."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.pool_referee import small_pool
from benchmarks.planner.whole_pools import made
from edge_planning.pools import PoolNode, PoolPlan, PoolProblem, plan_pool


def touched(problem: PoolProblem, plan: PoolPlan, number: int) -> PoolProblem:
    """The problem with the servers that the plan uses, and with another unused node: all is planned again."""
    demands = tuple(
        replace(one, server=plan.placed[one.name].server) if one.name in plan.placed else one
        for one in problem.demands
    )
    return replace(problem, demands=demands, nodes=(*problem.nodes, PoolNode(f"spare-{number}", "pi")))


def slower(problem: PoolProblem, node: str, bandwidth: float) -> PoolProblem:
    """The problem with another measured bandwidth at one node."""
    demands = tuple(
        replace(one, problems=tuple(replace(each, bandwidth=bandwidth) for each in one.problems))
        if one.node == node
        else one
        for one in problem.demands
    )
    return replace(problem, demands=demands)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_at_constant_demand_a_plan_settles_within_two_rounds(seed: int) -> None:
    problem = small_pool(seed)
    plan = plan_pool(problem)
    for number in range(4):
        refused = {*plan.refused}
        plan = plan_pool(touched(problem, plan, number), plan)
        if number >= 2:
            assert plan.moved == ()
            assert {*plan.refused} == refused


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.1e6, 1e6, 1e7]))
def test_a_changed_link_moves_no_table_elsewhere_unless_a_demand_lacks_something(
    seed: int, bandwidth: float
) -> None:
    problem = small_pool(seed)
    before = plan_pool(problem)
    after = plan_pool(slower(problem, "edge-b", bandwidth), before)
    elsewhere = [name for name in after.moved if name.endswith("@edge-a")]
    assert not elsewhere or before.contended or after.contended


def test_a_changed_link_in_a_pool_with_room_moves_no_table_elsewhere() -> None:
    problem = made(20, 4, 1.0)
    before = plan_pool(problem)
    after = plan_pool(slower(problem, "node-1", 5e6), before)
    assert all(name.endswith("@node-1") for name in after.moved)
    for name, placed in before.placed.items():
        if not name.endswith("@node-1"):
            assert after.placed[name].plan is placed.plan


def test_a_table_that_stays_the_best_is_kept_at_another_bandwidth() -> None:
    problem = made(20, 4, 1.0)
    before = plan_pool(problem)
    after = plan_pool(slower(problem, "node-1", 9e7), before)
    assert after.moved == ()


def test_what_earlier_plans_solved_changes_no_result() -> None:
    problem = made(10, 3, 20.0)
    first = plan_pool(problem)
    changed = slower(problem, "node-1", 5e6)
    fresh = replace(first, questions=type(first.questions)())
    assert plan_pool(changed, first) == plan_pool(changed, fresh)
