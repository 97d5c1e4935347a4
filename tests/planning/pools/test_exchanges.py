"""Exchanges in small pools, of which each must improve the plan and harm no other tenant."""

from dataclasses import replace
from itertools import pairwise

import pytest

from benchmarks.planner.pool_referee import small_pool
from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing
from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, plan_pool
from edge_planning.pools.contention import accounts_of
from edge_planning.pools.costed import Costs
from edge_planning.pools.exchanges import Exchanges
from edge_planning.pools.figures import Figures
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.questions import Questions
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.units import Unit
from edge_planning.sharing import Tenant

CPU = Resource(Kind.CPU, "edge-a")
CUTS = (Cut("image", 20_000), Cut("pool1", 8_000))
MODEL = Model("digits", (Exit("full", "logits", 0.95, CUTS),))
SECONDS = {pair: Timing(0.01, 0.01) for pair in pairwise(("image", "pool1", "logits"))}


def demand(service: str, tenant: str, rate: float) -> PoolDemand:
    problem = EntryProblem(MODEL, ClassProfile("pi", SECONDS), None, 0.001, Slo(0.5), node="edge-a")
    return PoolDemand(service, tenant, "sha256:digits", (problem,), rate)


@pytest.mark.parametrize(("tenant", "served"), [("bank", "bank/b@edge-a"), ("shop", "shop/a@edge-a")])
def test_a_larger_demand_replaces_a_smaller_one_of_its_own_tenant_only(tenant: str, served: str) -> None:
    demands = (demand("a", tenant, 30.0), demand("b", "bank", 35.0))
    problem = PoolProblem((PoolNode("edge-a", "pi"),), (), demands)
    ledger = Ledger(problem, capacities(problem, UPLINK_SHARE))
    costs = Costs(Questions(), Figures(), {"edge-a": 1e9}, {}, 0.0)
    units = [Unit(one, 1) for one in demands]
    costed = {unit.name: costs.costed(unit.demand, {}) for unit in units}
    first = costed[demands[0].name][0]
    ledger.add(Held(demands[0], first.reserved))
    choice, _ = Exchanges(units, costed, ledger).improved({demands[0].name: first})
    assert [*choice] == [served]
    assert not ledger.held


@pytest.mark.parametrize(("rate", "served"), [(19.0, "bank/b@edge-a"), (25.0, "bank/a@edge-a")])
def test_a_tenant_with_an_entitlement_exchanges_its_own_demands_but_borrows_no_more(
    rate: float, served: str
) -> None:
    demands = (demand("a", "bank", 15.0), demand("b", "bank", rate))
    tenants = (Tenant("bank"), Tenant("shop"))
    problem = PoolProblem((PoolNode("edge-a", "pi"),), (), demands, tenants, entitled=True)
    capacity = capacities(problem, UPLINK_SHARE)
    ledger = Ledger(problem, capacity, accounts_of(problem, capacity))
    costs = Costs(Questions(), Figures(), {"edge-a": 1e9}, {}, 0.0)
    units = [Unit(one, 1) for one in demands]
    costed = {unit.name: costs.costed(unit.demand, {}) for unit in units}
    first = costed[demands[0].name][0]
    ledger.add(Held(demands[0], first.reserved))
    limits = {CPU: 0.5, **{one: amount for one, amount in capacity.items() if one != CPU}}
    choice, _ = Exchanges(units, costed, ledger, limits).improved({demands[0].name: first})
    assert [*choice] == [served]


def timely_accuracy(plan: PoolPlan) -> float:
    """The accuracy of the planned routes that are in time, weighted by their rates."""
    return sum(
        one.rate * (plan.placed[one.name].plan.table.routes[0].worth or 0.0)
        for one in plan.problem.demands
        if one.name in plan.placed and plan.placed[one.name].in_time
    )


def test_a_small_pool_that_is_shared_by_entitlement_loses_little_accuracy_and_settles() -> None:
    found = {True: 0.0, False: 0.0}
    for seed in range(30):
        problem = small_pool(seed)
        without = plan_pool(replace(problem, tenants=()))
        if not without.contended:
            continue
        plan = plan_pool(replace(problem, tenants=(), entitled=True))
        found[False] += timely_accuracy(without)
        found[True] += timely_accuracy(plan)
        spare = (*problem.nodes, PoolNode("spare", "pi"))
        assert plan_pool(replace(plan.problem, nodes=spare), plan).moved == ()
    assert found[True] > 0.95 * found[False]


def test_a_declared_share_of_a_node_is_used_whole_as_long_as_requests_hardly_wait() -> None:
    one = demand("a", "shop", 9.0)
    problem = PoolProblem((PoolNode("edge-a", "pi", cpu=0.2),), (), (one, replace(one, service="b")))
    plan = plan_pool(problem)
    assert len(plan.placed) == 1
