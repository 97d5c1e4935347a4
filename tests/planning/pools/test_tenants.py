"""Pools that tenants share by entitlement: who steps down, what is lent, and what each tenant has."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Slo, Timing
from edge_planning.errors import BadValueError
from edge_planning.pools import (
    Observed,
    PoolDemand,
    PoolNode,
    PoolPlan,
    PoolProblem,
    PoolServer,
    PoolShare,
    plan_pool,
)
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.sharing import Amount, Limit, Quota, ResourceKind, Share, Tenant

CPU, MEMORY = ResourceKind.CPU, ResourceKind.MEMORY
MB = 1e6
CUTS = (Cut("image", 20_000), Cut("pool1", 8_000), Cut("pool2", 2_000))
NAMES = ("image", "pool1", "pool2", "logits")
SECONDS = dict(zip(pairwise(NAMES), (0.01, 0.01, 0.03), strict=True)) | {("pool1", "early_logits"): 0.005}
EARLY, FULL = Exit("early", "early_logits", 0.8, CUTS[:2]), Exit("full", "logits", 0.95, CUTS)
MODEL = Model("digits", (EARLY, FULL), memory=dict.fromkeys(SECONDS, 10 * MB))
DEVICE = ClassProfile("pi", {pair: Timing(seconds, seconds) for pair, seconds in SECONDS.items()})
NODE = Resource(Kind.CPU, "edge-a")
PLANNABLE = 0.8
"""Part of a node's time that a joint choice uses."""


def demand(service: str, tenant: str, rate: float = 4.0, **other: object) -> PoolDemand:
    """A service that computes at its node: the full model takes 50 ms, the early exit 15 ms."""
    problem = EntryProblem(MODEL, DEVICE, None, 0.001, Slo(1.0), node="edge-a", peer="")
    found = PoolDemand(service, f"{tenant}-1", "sha256:digits", (problem,), rate, belongs_to=tenant)
    return replace(found, **other)  # type: ignore[arg-type]


def services(tenant: str, count: int, rate: float = 4.0) -> list[PoolDemand]:
    return [demand(f"s{number}", tenant, rate) for number in range(count)]


def measured(service: str, tenant: str, rate: float, *, late: bool = True) -> PoolDemand:
    """A service that declares no rate, with requests as measured."""
    return demand(service, tenant, 0.01, assumed=True, observed=Observed(rate, late))


def pool(tenants: tuple[Tenant, ...], demands: list[PoolDemand], **other: object) -> PoolProblem:
    made = PoolProblem((PoolNode("edge-a", "pi"),), (), tuple(demands), tenants, entitled=True)
    return replace(made, **other)  # type: ignore[arg-type]


def shares(plan: PoolPlan) -> Mapping[str, PoolShare]:
    return {one.name: one for one in plan.tenants}


def exits(plan: PoolPlan, tenant: str) -> list[str]:
    """The exits of a tenant's services, the refused ones as `refused`."""
    names = sorted(one.name for one in plan.problem.demands if one.owner == tenant)
    return [
        plan.placed[name].plan.table.routes[0].exit if name in plan.placed else "refused" for name in names
    ]


def used(plan: PoolPlan, tenant: str, kind: ResourceKind = CPU) -> float:
    return shares(plan)[tenant].kinds[kind].used


def test_a_pool_with_room_gives_every_tenant_what_it_would_have_alone() -> None:
    plan = plan_pool(pool((Tenant("shop"), Tenant("lab")), services("shop", 1) + services("lab", 1)))
    assert exits(plan, "shop") == exits(plan, "lab") == ["full"]
    assert [one.shortages for one in plan.tenants] == [(), ()]


def test_a_tenant_within_its_entitlement_keeps_its_exit_while_one_beyond_it_steps_down() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("shop", 1) + services("lab", 8)))
    assert exits(plan, "shop") == ["full"]
    assert "early" in exits(plan, "lab")
    assert "refused" not in exits(plan, "lab")
    assert shares(plan)["shop"].shortages == ()


def test_the_entitlement_follows_the_weights() -> None:
    tenants = (Tenant("shop", 3.0), Tenant("lab", 1.0))
    plan = plan_pool(pool(tenants, services("shop", 12) + services("lab", 12)))
    nominal = {one.name: one.kinds[CPU].nominal for one in plan.tenants}
    assert nominal == pytest.approx({"shop": 0.75 * PLANNABLE, "lab": 0.25 * PLANNABLE})
    assert used(plan, "shop") > 2 * used(plan, "lab")


@pytest.mark.parametrize("quota", [Share(0.75), Amount(0.75 * PLANNABLE)])
def test_the_entitlement_is_the_nominal_quota_where_there_is_one(quota: Quota) -> None:
    tenants = (Tenant("shop", nominal={CPU: quota}), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("shop", 12) + services("lab", 12)))
    assert shares(plan)["shop"].kinds[CPU].nominal == pytest.approx(0.75 * PLANNABLE)
    assert used(plan, "shop") > 2 * used(plan, "lab")


def test_an_amount_is_the_same_share_of_nodes_on_which_the_tenant_has_nothing() -> None:
    nodes = (PoolNode("edge-a", "pi"), PoolNode("edge-b", "pi"))
    tenants = (Tenant("shop", nominal={CPU: Amount(0.9)}), Tenant("lab", nominal={CPU: Amount(0.9)}))
    plan = plan_pool(pool(tenants, services("shop", 9) + services("lab", 9), nodes=nodes))
    assert shares(plan)["shop"].kinds[CPU].nominal == pytest.approx(0.5 * PLANNABLE + 0.5)
    assert used(plan, "shop") == pytest.approx(used(plan, "lab"), abs=0.061)


def test_amounts_of_cpu_count_the_cores_of_each_node() -> None:
    nodes = (PoolNode("edge-a", "pi", cores=4.0), PoolNode("edge-b", "pi", cores=6.0))
    tenants = (Tenant("shop", nominal={CPU: Amount(4.6)}), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("shop", 9), nodes=nodes))
    assert shares(plan)["shop"].kinds[CPU].nominal == pytest.approx(4.6)
    assert used(plan, "shop") == pytest.approx(4.0 * plan.used[NODE])


def test_what_an_owner_leaves_idle_is_lent_and_reported() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("shop", 1, 1.0) + services("lab", 3)))
    assert exits(plan, "lab") == ["full"] * 3
    lab, shop = shares(plan)["lab"].kinds[CPU], shares(plan)["shop"].kinds[CPU]
    assert lab.borrowed == pytest.approx(lab.used - lab.nominal)
    assert lab.borrowed > 0
    assert shop.lent == pytest.approx(lab.borrowed, abs=0.21)


def test_an_owner_gets_back_what_it_had_lent_and_the_borrower_steps_down() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    before = plan_pool(pool(tenants, services("lab", 3)))
    after = plan_pool(pool(tenants, services("shop", 2) + services("lab", 3)), before)
    assert exits(before, "lab") == ["full"] * 3
    assert exits(after, "shop") == ["full"] * 2
    assert "refused" not in exits(after, "lab")
    assert "early" in exits(after, "lab")


def test_what_is_lent_again_after_the_owner_has_left() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    first = plan_pool(pool(tenants, services("shop", 2) + services("lab", 3)))
    after = plan_pool(pool(tenants, services("lab", 3)), first)
    assert exits(after, "lab") == ["full"] * 3


def test_a_borrowing_limit_binds_while_the_pool_is_idle() -> None:
    tenants = (Tenant("shop"), Tenant("lab", borrowing_limit={CPU: Share(0.0)}))
    plan = plan_pool(pool(tenants, services("lab", 4)))
    assert used(plan, "lab") <= 0.5 * PLANNABLE * (1 + 1e-9)
    (short,) = shares(plan)["lab"].shortages
    assert short.limit is Limit.BORROWING
    assert short.resource == str(NODE)


def test_a_lending_limit_keeps_the_rest_for_its_owner() -> None:
    tenants = (Tenant("shop", lending_limit={CPU: Share(0.0)}), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("lab", 4)))
    assert used(plan, "lab") <= 1.0 - 0.5 * PLANNABLE + 1e-9
    assert exits(plan, "lab").count("early") > 0


def test_a_changed_quota_changes_the_plan() -> None:
    demands = services("shop", 8) + services("lab", 8)
    before = plan_pool(pool((Tenant("shop"), Tenant("lab")), demands))
    after = plan_pool(pool((Tenant("shop", 9.0), Tenant("lab")), demands), before)
    assert used(after, "shop") > used(before, "shop") * 1.2


def reclaimed(tenants: tuple[Tenant, ...]) -> tuple[PoolPlan, PoolProblem]:
    """A plan in which a tenant steps down, and the problem after others have left: not all of it fits yet."""
    borrower = services("lab", 10, 2.0)
    before = plan_pool(pool(tenants, services("shop", 5, 2.0) + borrower))
    return before, pool(tenants, services("shop", 1, 2.0) + borrower)


def test_moves_for_accuracy_with_borrowed_capacity_are_made_as_the_budget_allows() -> None:
    before, problem = reclaimed((Tenant("shop"), Tenant("lab")))
    at_once = plan_pool(problem, before)
    assert (exits(before, "lab").count("full"), exits(at_once, "lab").count("full")) == (1, 5)
    assert (at_once.spent, at_once.waiting) == (4, ())
    plan, found = before, []
    for _ in range(6):
        plan = plan_pool(problem, plan, moves=1)
        found.append((exits(plan, "lab").count("full"), plan.spent, len(plan.waiting)))
    assert found == [(2, 1, 3), (3, 1, 2), (4, 1, 1), (5, 1, 0), (5, 0, 0), (5, 0, 0)]


def test_without_moves_left_a_plan_stays_and_its_moves_wait() -> None:
    before, problem = reclaimed((Tenant("shop"), Tenant("lab")))
    plan = plan_pool(problem, before, moves=0)
    assert (exits(plan, "lab").count("full"), plan.spent, len(plan.waiting)) == (1, 0, 4)
    (waiting,) = [one for one in shares(plan)["lab"].shortages if one.limit is Limit.BUDGET]
    assert (len(waiting.services), waiting.refused, waiting.resource) == (4, False, "")
    again = plan_pool(problem, plan, moves=0)
    assert (again.placed, again.moved, again.waiting) == (plan.placed, (), plan.waiting)
    elsewhere = (*problem.nodes, PoolNode("edge-b", "pi"))
    assert plan_pool(replace(problem, nodes=elsewhere), plan, moves=0).waiting == plan.waiting


def test_an_owner_gets_back_what_it_had_lent_without_moves_of_the_budget() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    before = plan_pool(pool(tenants, services("lab", 3)))
    after = plan_pool(pool(tenants, services("shop", 2) + services("lab", 3)), before, moves=0)
    assert exits(after, "shop") == ["full"] * 2
    assert "refused" not in exits(after, "lab")
    assert after.waiting == ()


def test_weight_zero_is_last() -> None:
    tenants = (Tenant("shop"), Tenant("lab", 0.0))
    plan = plan_pool(pool(tenants, services("shop", 4) + services("lab", 4)))
    assert shares(plan)["lab"].kinds[CPU].nominal == 0.0
    assert exits(plan, "shop").count("full") >= exits(plan, "lab").count("full")
    assert shares(plan)["shop"].kinds[CPU].nominal == pytest.approx(PLANNABLE)


def test_refusals_fall_on_the_tenant_beyond_its_entitlement_and_name_what_binds() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, services("shop", 1) + services("lab", 16, 6.0)))
    assert exits(plan, "shop") == ["full"]
    assert "refused" in exits(plan, "lab")
    refusal = next(iter(plan.refused.values()))
    assert refusal.claim is not None
    assert refusal.claim.tenant == "lab"
    assert refusal.claim.nominal == pytest.approx(0.5 * PLANNABLE)
    assert refusal.claim.used > refusal.claim.nominal
    assert shares(plan)["lab"].refused == exits(plan, "lab").count("refused")
    assert shares(plan)["lab"].shortages[0].message.endswith(f"refused: {NODE}")


@pytest.mark.parametrize(("ceiling", "fair"), [(None, False), (0, True)])
def test_priorities_above_the_ceiling_of_a_tenant_win_nothing_from_others(
    ceiling: int | None, fair: bool
) -> None:
    borrowed = {CPU: Share(0.0)}
    tenants = (
        Tenant("shop", nominal=borrowed),
        Tenant("lab", nominal=borrowed, priority_ceiling=ceiling),
    )
    urgent = [demand(f"s{number}", "lab", 8.0, priority=500) for number in range(6)]
    plan = plan_pool(pool(tenants, services("shop", 6, 8.0) + urgent))
    assert (exits(plan, "shop").count("refused") == exits(plan, "lab").count("refused")) is fair


def test_splitting_a_service_wins_nothing() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    one = plan_pool(pool(tenants, services("shop", 4) + services("lab", 4)))
    many = plan_pool(pool(tenants, services("shop", 4) + services("lab", 16, 1.0)))
    assert used(many, "lab") <= 0.5 * PLANNABLE + 0.06
    assert used(many, "shop") >= used(one, "shop") - 0.06


def test_a_small_use_is_not_rounded_to_nothing() -> None:
    plan = plan_pool(pool((Tenant("shop"), Tenant("lab")), services("shop", 1, 0.001)))
    assert used(plan, "shop") == pytest.approx(0.05 * 0.001)
    assert shares(plan)["shop"].dominant > 0


def test_memory_is_shared_by_entitlement_without_the_parts_of_others() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    problem = pool(tenants, services("shop", 1), nodes=(PoolNode("edge-a", "pi", memory=200 * MB),))
    plan = plan_pool(replace(problem, runtime_memory=20 * MB))
    runtime, full, early = 20 * MB, 30 * MB, 20 * MB  # a local route for each exit
    assert used(plan, "shop", MEMORY) == pytest.approx(runtime + full + early)
    assert used(plan, "lab", MEMORY) == 0.0


def test_at_constant_demand_the_plan_settles() -> None:
    tenants = (Tenant("shop", 2.0), Tenant("lab"))
    problem = pool(tenants, services("shop", 6) + services("lab", 9))
    plan = plan_pool(problem)
    for number in range(4):
        server = PoolServer(f"spare-{number}")
        plan = plan_pool(replace(problem, servers=(server,)), plan)
        assert number < 2 or plan.moved == ()


def test_without_entitlements_quotas_are_refused_and_no_tenant_is_reported() -> None:
    problem = pool((Tenant("shop"),), services("shop", 1), entitled=False)
    assert plan_pool(problem).tenants == ()
    for tenant in (Tenant("shop", 0.0), Tenant("shop", nominal={CPU: Share(0.3)})):
        with pytest.raises(BadValueError, match="shared by entitlement"):
            replace(problem, tenants=(tenant,))


@st.composite
def crowded(draw: st.DrawFn, *, elastic: bool = False) -> PoolProblem:
    """Two to three tenants with equal or unequal weights, quotas and services, at one node.

    elastic: whether requests of some services are measured, and not declared.
    """
    nominal: list[Mapping[ResourceKind, Quota]] = [{}, {CPU: Share(0.2)}, {CPU: Amount(0.3)}]
    quotas = st.sampled_from(nominal)
    names = ("a", "b", "c")[: draw(st.integers(2, 3))]
    tenants = tuple(
        Tenant(name, draw(st.sampled_from([0.0, 1.0, 2.0, 4.0])), nominal=draw(quotas)) for name in names
    )
    made = st.sampled_from([demand, measured] if elastic else [demand])
    demands = [
        draw(made)(f"s{number}", name, draw(st.sampled_from([0.5, 2.0, 4.0, 6.0])))
        for name in names
        for number in range(draw(st.integers(0, 7)))
    ]
    return pool(tenants, demands or services("a", 1))


def lacking_within_entitlement(plan: PoolPlan) -> list[str]:
    """Services whose tenant lacks something within its entitlement, while another tenant borrows."""
    borrow = {one.name for one in plan.tenants if one.borrowed > 1e-9}
    found = []
    for one in plan.problem.demands:
        placed = plan.placed.get(one.name)
        early = placed is not None and placed.plan.table.routes[0].exit == "early"
        if placed is not None and not early:
            continue
        more = one.rate * (0.035 if early else 0.015)
        own = shares(plan)[one.owner].kinds[CPU]
        if own.used + more <= own.nominal - 1e-9 and borrow - {one.owner}:
            found.append(one.name)
    return found


@settings(max_examples=60, deadline=None)
@given(crowded())
def test_no_tenant_lacks_anything_within_its_entitlement_while_another_borrows(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    assert lacking_within_entitlement(plan) == []
    assert plan.used.get(NODE, 0.0) <= 1.0 + 1e-9


@settings(max_examples=40, deadline=None)
@given(crowded(), st.data())
def test_an_owner_always_gets_its_entitlement_back(problem: PoolProblem, data: st.DataObject) -> None:
    owner = data.draw(st.sampled_from(sorted(one.name for one in problem.tenants)))
    others = tuple(one for one in problem.demands if one.owner != owner) or problem.demands
    without = plan_pool(replace(problem, demands=others))
    assert lacking_within_entitlement(plan_pool(problem, without)) == []


@settings(max_examples=40, deadline=None)
@given(crowded())
def test_no_sequence_of_reclaim_and_borrow_repeats(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    for number in range(4):
        nodes = (*problem.nodes, PoolNode(f"spare-{number}", "pi"))
        plan = plan_pool(replace(problem, nodes=nodes), plan)
        assert number < 2 or plan.moved == ()


def test_what_measured_requests_take_within_the_entitlement_is_not_lent() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, [measured("s0", "shop", 8.0), *services("lab", 4)]))
    assert exits(plan, "shop") == ["full"]
    assert "early" in exits(plan, "lab")
    assert "refused" not in exits(plan, "lab")
    reserved = plan.used[NODE]
    assert reserved + (8.0 - 0.01) * 0.05 <= PLANNABLE + 1e-9


def test_beyond_the_entitlement_measured_requests_use_only_what_is_idle() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, [measured("s0", "shop", 100.0), *services("lab", 2)]))
    assert exits(plan, "lab") == ["full"] * 2
    assert used(plan, "shop") == pytest.approx(PLANNABLE - used(plan, "lab"))


@pytest.mark.parametrize("late", [True, False])
def test_a_tenant_that_borrows_steps_down_so_that_requests_of_others_are_in_time(late: bool) -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    demands = [measured("s0", "shop", 7.0, late=late), *services("lab", 9, 1.0)]
    tight = [
        replace(one, problems=tuple(replace(each, slo=Slo(0.25)) for each in one.problems)) for one in demands
    ]
    plan = plan_pool(pool(tenants, tight))
    assert exits(plan, "shop") == ["full"]
    assert 0 < exits(plan, "lab").count("full") < 9
    assert all(one.in_time for one in plan.placed.values())
    assert used(plan, "lab") < 0.5 * PLANNABLE < used(plan_pool(pool(tenants, tight[1:])), "lab")
    assert plan_pool(pool(tenants, tight, servers=(PoolServer("spare"),)), plan).moved == ()


def test_measured_requests_count_as_use_and_as_borrowed() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    plan = plan_pool(pool(tenants, [measured("s0", "shop", 14.0)]))
    shop, lab = shares(plan)["shop"], shares(plan)["lab"]
    assert shop.kinds[CPU].used == pytest.approx(14.0 * 0.05)
    assert shop.borrowed == pytest.approx(14.0 * 0.05 - 0.5 * PLANNABLE)
    unowned = 1 - PLANNABLE
    assert lab.kinds[CPU].lent == pytest.approx(shop.borrowed - unowned)


def test_measured_requests_of_equal_nodes_count_at_each() -> None:
    nodes = tuple(PoolNode(name, "pi") for name in ("edge-a", "edge-b"))
    here = measured("s0", "shop", 4.0)
    there = replace(here, problems=tuple(replace(one, node="edge-b") for one in here.problems))
    problem = pool((Tenant("shop"), Tenant("lab")), [here], nodes=nodes)
    plan = plan_pool(replace(problem, demands=(here, there)))
    assert used(plan, "shop") == pytest.approx(2 * 4.0 * 0.05)


def test_tenants_whose_requests_are_measured_divide_a_node_by_weight() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 4.0}
    tenants = tuple(Tenant(name, weight) for name, weight in weights.items())
    plan = plan_pool(pool(tenants, [measured("s0", name, 100.0) for name in weights]))
    for name, weight in weights.items():
        assert used(plan, name) == pytest.approx(PLANNABLE * weight / 7, rel=1e-3)


def test_splitting_a_measured_service_wins_nothing() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    many = [measured(f"s{number}", "lab", 25.0) for number in range(4)]
    plan = plan_pool(pool(tenants, [measured("s0", "shop", 100.0), *many]))
    assert used(plan, "shop") == pytest.approx(used(plan, "lab"), rel=1e-3)


def test_what_measured_requests_do_not_need_is_lent_by_weight() -> None:
    tenants = (Tenant("a", 4.0), Tenant("b", 1.0), Tenant("c", 2.0), Tenant("d", 0.0))
    rates = {"a": 1.0, "b": 100.0, "c": 100.0, "d": 100.0}
    plan = plan_pool(pool(tenants, [measured("s0", name, rate) for name, rate in rates.items()]))
    lent = PLANNABLE * 4 / 7 - 0.05
    assert used(plan, "a") == pytest.approx(0.05)
    assert used(plan, "b") == pytest.approx(PLANNABLE / 7 + lent / 3, rel=1e-3)
    assert used(plan, "c") == pytest.approx(PLANNABLE * 2 / 7 + lent * 2 / 3, rel=1e-3)
    assert used(plan, "d") == pytest.approx(0.01 * 0.05, rel=1e-3)


def test_a_borrowing_limit_binds_measured_requests_in_an_idle_pool() -> None:
    tenants = (Tenant("shop"), Tenant("lab", borrowing_limit={CPU: Share(0.1)}))
    plan = plan_pool(pool(tenants, [measured("s0", "lab", 100.0)]))
    assert used(plan, "lab") == pytest.approx((0.5 + 0.1) * PLANNABLE, rel=1e-3)


def test_a_lending_limit_is_kept_from_measured_requests() -> None:
    tenants = (Tenant("shop", lending_limit={CPU: Share(0.25)}), Tenant("lab"))
    plan = plan_pool(pool(tenants, [measured("s0", "lab", 100.0)]))
    assert used(plan, "lab") == pytest.approx((0.5 + 0.25) * PLANNABLE, rel=1e-3)


def test_requests_that_return_take_back_what_was_lent() -> None:
    tenants = (Tenant("shop"), Tenant("lab"))
    quiet = pool(tenants, [demand("s0", "shop", 0.01, assumed=True), *services("lab", 4, 3.9)])
    before = plan_pool(quiet)
    back = pool(tenants, [measured("s0", "shop", 8.0), *services("lab", 4, 3.9)])
    after = plan_pool(back, before)
    assert exits(before, "lab") == ["full"] * 4
    assert exits(after, "shop") == ["full"]
    assert sorted(set(exits(after, "lab"))) == ["early", "full"]
    assert plan_pool(back, after).moved == ()


@settings(max_examples=60, deadline=None)
@given(crowded(elastic=True))
def test_measured_requests_have_their_entitlement_while_another_tenant_borrows(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    for name, share in shares(plan).items():
        others_borrow = any(one.borrowed > 1e-6 for one in plan.tenants if one.name != name)
        mine = [one for one in problem.demands if one.owner == name and one.name in plan.placed]
        wanted = sum(
            (one.rate if one.observed is None else one.observed.rate)
            * (0.05 if plan.placed[one.name].plan.table.routes[0].exit == "full" else 0.015)
            for one in mine
        )
        if others_borrow:
            assert share.kinds[CPU].used >= min(wanted, share.kinds[CPU].nominal) - 0.01
    assert sum(one.kinds[CPU].used for one in plan.tenants) <= 1.0 + 1e-9


@settings(max_examples=30, deadline=None)
@given(crowded(elastic=True))
def test_at_constant_measured_rates_the_plan_settles(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    for number in range(4):
        nodes = (*problem.nodes, PoolNode(f"spare-{number}", "pi"))
        plan = plan_pool(replace(problem, nodes=nodes), plan)
        assert number < 2 or plan.moved == ()
