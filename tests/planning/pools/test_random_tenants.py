"""Random pools with several nodes, resources, quotas and limits: what holds in every plan of tenants."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_planning.plans import RouteTable
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, plan_pool
from edge_planning.pools.reservations import Kind
from edge_planning.sharing import ResourceKind, Tenant
from tenant_pools import Judge, again, demand, pools, refused

CPU = ResourceKind.CPU
EXAMPLES = settings(max_examples=40, deadline=None)
FEW = settings(max_examples=20, deadline=None)
SMALL = 1e-5
"""Requests per second of which one takes 50 ms of a processor."""


def tables(plan: PoolPlan) -> Mapping[str, tuple[RouteTable, str | None]]:
    return {name: (one.plan.table, one.server) for name, one in plan.placed.items()}


def of_others(problem: PoolProblem, owner: str) -> tuple[PoolDemand, ...]:
    return tuple(one for one in problem.demands if one.owner != owner)


@EXAMPLES
@given(pools())
def test_nothing_lacks_what_its_tenant_is_entitled_to_while_another_borrows_it(problem: PoolProblem) -> None:
    assert Judge(plan_pool(problem)).lacking_within_entitlement() == []


@EXAMPLES
@given(pools())
def test_nothing_is_refused_that_fits_beside_the_others(problem: PoolProblem) -> None:
    assert Judge(plan_pool(problem)).refused_although_they_fit() == []


@EXAMPLES
@given(pools(), st.data())
def test_an_owner_gets_its_entitlement_back_without_a_budget_of_moves(
    problem: PoolProblem, data: st.DataObject
) -> None:
    owner = data.draw(st.sampled_from(sorted({one.owner for one in problem.demands})))
    others = of_others(problem, owner)
    assume(others)
    lent = plan_pool(replace(problem, demands=others))
    back = plan_pool(problem, lent, moves=0)
    lacking = Judge(back).lacking_within_entitlement()
    assert [one for one in lacking if one.startswith(f"{owner}-")] == []


@FEW
@given(pools(elastic=True))
def test_at_constant_demand_the_plan_stops_changing_after_two_rounds(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    for number in range(4):
        before, plan = plan, plan_pool(again(problem, number), plan)
        if number >= 2:
            assert plan.moved == ()
            assert {*plan.refused} == {*before.refused}


@FEW
@given(pools(), st.integers(1, 2))
def test_with_a_budget_of_moves_no_plan_comes_back(problem: PoolProblem, moves: int) -> None:
    """The budget of each plan is full, as if a minute had passed."""
    seen, plan = list[object](), None
    for number in range(len(problem.demands) + 4):
        plan = plan_pool(again(problem, number), plan, moves=moves)
        if seen and tables(plan) == seen[-1]:
            return
        assert tables(plan) not in seen
        seen.append(tables(plan))
    pytest.fail("the plan still changes")


@FEW
@given(pools(), st.data())
def test_a_tenant_that_comes_and_goes_starts_no_loop(problem: PoolProblem, data: st.DataObject) -> None:
    owner = data.draw(st.sampled_from(sorted({one.owner for one in problem.demands})))
    others = of_others(problem, owner)
    assume(others)
    plan: PoolPlan | None = None
    for turn in range(3):
        for demands in (others, problem.demands):
            given = replace(problem, demands=demands)
            for number in range(4):
                plan = plan_pool(again(given, 10 * turn + number), plan)
                assert number < 3 or plan.moved == ()


@EXAMPLES
@given(pools(weights=(0.0, 1.0, 2.0)))
def test_a_weight_of_0_is_last(problem: PoolProblem) -> None:
    plain = replace(problem, tenants=tuple(Tenant(one.name, one.weight) for one in problem.tenants))
    last = {one.name for one in plain.tenants if one.weight == 0}
    paying = tuple(one for one in plain.demands if one.owner not in last)
    assume(0 < len(paying) < len(plain.demands))
    beside, alone = plan_pool(plain), plan_pool(replace(plain, demands=paying))
    assert refused(beside) & {one.name for one in paying} <= refused(alone)


@EXAMPLES
@given(pools(most=8), st.sampled_from("abc"))
def test_small_uses_are_not_lost_to_rounding(problem: PoolProblem, tenant: str) -> None:
    small = demand("small", "edge-a", tenant, SMALL, 2.0)
    roomy = tuple(replace(one, memory=1e9) for one in problem.nodes)
    plan = plan_pool(replace(problem, nodes=roomy, demands=(*problem.demands, small)))
    for one in plan.tenants:
        mine = [each.name for each in plan.problem.demands if each.owner == one.name]
        reserved = [
            amount
            for name in mine
            if name in plan.placed
            for resource, amount in plan.placed[name].reservation.uses.items()
            if resource.kind is Kind.CPU
        ]
        assert one.kinds[CPU].used == pytest.approx(sum(reserved), rel=1e-9)
        assert (one.kinds[CPU].used > 0) == (sum(reserved) > 0)
        assert one.dominant > 0 or not any(name in plan.placed for name in mine)


@FEW
@given(st.integers(3, 12), st.integers(2, 4), st.sampled_from([1.0, 2.0]))
def test_splitting_services_wins_nothing(services: int, parts: int, weight: float) -> None:
    """Two tenants ask for twice what there is; one has more and smaller services."""
    rate = 2 * 0.8 / 0.015 / services

    def of(tenant: str, count: int) -> list[PoolDemand]:
        made = [
            demand(f"s{number}", "edge-a", tenant, rate * services / count, 60.0) for number in range(count)
        ]
        return [replace(one, problems=(replace(one.problems[0], remote=None),)) for one in made]

    problem = PoolProblem(
        (PoolNode("edge-a", "pi"),),
        (),
        (*of("honest", services), *of("splits", services * parts)),
        (Tenant("honest", weight), Tenant("splits", weight)),
        entitled=True,
    )
    honest, splits = (one.kinds[CPU].used for one in plan_pool(problem).tenants)
    assert splits - honest <= 2 * rate * 0.015 + 1e-9
