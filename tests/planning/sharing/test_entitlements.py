"""What tenants are entitled to, and how a pool is shared by it."""

from dataclasses import replace

import numpy as np
import pytest

from edge_planning.errors import BadValueError
from edge_planning.sharing import (
    Amount,
    Demand,
    EntitledPlan,
    Limit,
    Option,
    ResourceKind,
    Share,
    SharedResource,
    SharingProblem,
    Tenant,
    entitlements,
    share,
    share_by_entitlement,
    sharing_problem,
)
from edge_planning.sharing.arrays import REFUSED
from edge_planning.sharing.joint_choice import from_arrays
from messages import mentions

CPU, UPLINK = ResourceKind.CPU, ResourceKind.UPLINK
CHEAP, GOOD = 0.80, 0.95


def demand(
    name: str,
    tenant: str,
    *sizes: float,
    node: str = "a",
    priority: int = 100,
    rate: float = 1.0,
    current: int | None = None,
) -> Demand:
    """A service with one candidate for each size, of CHEAP to GOOD accuracy."""
    values = np.linspace(CHEAP, GOOD, len(sizes)) if len(sizes) > 1 else [GOOD]
    options = tuple(
        Option(float(value), {f"cpu of {node}": size}) for value, size in zip(values, sizes, strict=True)
    )
    return Demand(name, node, tenant, options, rate, priority, current)


def problem(
    tenants: list[Tenant], demands: list[Demand], nodes: str = "a", capacity: float = 1.0
) -> SharingProblem:
    resources = [SharedResource(f"cpu of {node}", capacity, CPU) for node in nodes]
    return sharing_problem(tenants, resources, demands)


def used(plan: EntitledPlan) -> dict[str, float]:
    return {one.name: one.kinds[CPU].used for one in plan.tenants}


def many(tenant: str, count: int, *sizes: float, priority: int = 100) -> list[Demand]:
    return [demand(f"{tenant}-{number}", tenant, *sizes, priority=priority) for number in range(count)]


def nominal(*tenants: Tenant, nodes: str = "ab") -> np.ndarray:
    return entitlements(problem(list(tenants), [demand("s", tenants[0].name, 0.1)], nodes)).nominal


def test_a_share_is_a_part_of_every_node() -> None:
    assert nominal(Tenant("t", nominal={CPU: Share(0.3)})).tolist() == [[0.3, 0.3]]


def test_an_amount_over_the_pool_is_the_same_part_of_every_node() -> None:
    assert nominal(Tenant("t", nominal={CPU: Amount(0.5)})).tolist() == [[0.25, 0.25]]


def test_without_a_quota_the_entitlement_is_the_weight_over_the_sum_of_weights() -> None:
    assert nominal(Tenant("t", 1.0), Tenant("u", 3.0), nodes="a").ravel().tolist() == [0.25, 0.75]


def test_quotas_come_before_entitlements_by_weight() -> None:
    found = nominal(Tenant("t", nominal={CPU: Share(0.9)}), Tenant("u"), Tenant("v"), nodes="a")
    assert found.ravel() == pytest.approx([0.9, 0.05, 0.05])


def test_quotas_beyond_the_whole_shrink_in_proportion() -> None:
    found = nominal(
        Tenant("t", nominal={CPU: Share(0.9)}), Tenant("u", nominal={CPU: Share(0.6)}), Tenant("v"), nodes="a"
    )
    assert found.ravel() == pytest.approx([0.6, 0.4, 0.0])


def test_a_small_share_is_not_rounded_to_nothing() -> None:
    tenants = [Tenant("t", nominal={CPU: Share(1e-6)}), Tenant("u")]
    plan = share_by_entitlement(problem(tenants, [demand("s", "t", 1e-6), *many("u", 5, 0.3)]))
    assert 0 not in plan.refused
    small = plan.tenants[0]
    assert small.kinds[CPU].used == pytest.approx(1e-6)
    assert small.kinds[CPU].borrowed == 0
    assert small.dominant_share == pytest.approx(1e-6)


def test_each_tenant_has_its_entitlement_when_all_want_more_than_the_pool() -> None:
    tenants = [Tenant(name, weight) for name, weight in (("t", 1.0), ("u", 2.0), ("v", 4.0))]
    demands = [each for one in tenants for each in many(one.name, 100, 0.01, 0.02)]
    plan = share_by_entitlement(problem(tenants, demands))
    found = used(plan)
    assert [found[name] for name in "tuv"] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.1)


def test_what_is_idle_is_lent_and_comes_back() -> None:
    tenants = [Tenant("t"), Tenant("u")]
    busy = many("u", 2, 0.1, 0.45)
    alone = share_by_entitlement(problem(tenants, busy))
    assert used(alone)["u"] == pytest.approx(0.9)
    lender, borrower = alone.tenants
    assert borrower.kinds[CPU].borrowed == pytest.approx(lender.kinds[CPU].lent) == pytest.approx(0.4)
    held = [replace(one, current=1) for one in busy]
    back = share_by_entitlement(problem(tenants, [*held, *many("t", 1, 0.1, 0.5)]), moves=0)
    assert used(back) == pytest.approx({"t": 0.5, "u": 0.2})
    assert not back.refused
    assert back.moved == (0, 1)
    assert back.spent == 0


def test_a_lending_limit_keeps_the_rest_idle() -> None:
    tenants = [Tenant("t", lending_limit={CPU: Share(0.1)}), Tenant("u")]
    plan = share_by_entitlement(problem(tenants, many("u", 10, 0.1)))
    assert used(plan)["u"] == pytest.approx(0.6)


def test_a_borrowing_limit_is_kept_and_named() -> None:
    tenants = [Tenant("t"), Tenant("u", borrowing_limit={CPU: Amount(0.2)})]
    plan = share_by_entitlement(problem(tenants, many("u", 10, 0.1)))
    assert used(plan)["u"] == pytest.approx(0.7)
    (shortage,) = plan.tenants[1].shortages
    assert (shortage.refused, shortage.limit, len(shortage.services)) == (True, Limit.BORROWING, 3)
    assert shortage.missing == pytest.approx(0.1)


def test_a_weight_of_0_is_last() -> None:
    tenants = [Tenant("last", 0.0), Tenant("t", 0.1), Tenant("u", 0.1)]
    demands = many("last", 5, 0.2) + many("t", 3, 0.2) + many("u", 2, 0.2)
    plan = share_by_entitlement(problem(tenants, demands))
    assert used(plan) == pytest.approx({"last": 0.0, "t": 0.6, "u": 0.4})
    assert plan.tenants[0].refused == 5


def test_tenants_of_weight_0_share_what_the_others_leave() -> None:
    tenants = [Tenant("last", 0.0), Tenant("latest", 0.0), Tenant("t")]
    plan = share_by_entitlement(
        problem(tenants, many("last", 9, 0.1) + many("latest", 9, 0.1) + many("t", 2, 0.1))
    )
    assert used(plan) == pytest.approx({"last": 0.4, "latest": 0.4, "t": 0.2})
    assert plan.tenants[0].weighted_share == float("inf")


def test_a_weight_of_0_does_not_lose_its_quota() -> None:
    tenants = [Tenant("last", 0.0, nominal={CPU: Share(0.3)}), Tenant("t")]
    plan = share_by_entitlement(problem(tenants, many("last", 5, 0.1) + many("t", 9, 0.1)))
    assert used(plan) == pytest.approx({"last": 0.3, "t": 0.7})


def test_services_step_down_before_one_is_refused() -> None:
    plan = share_by_entitlement(problem([Tenant("t"), Tenant("u")], many("t", 4, 0.2, 0.5)))
    assert not plan.refused
    assert used(plan)["t"] == pytest.approx(0.8)
    (shortage,) = plan.tenants[0].shortages
    assert (shortage.refused, shortage.limit, shortage.resource) == (False, Limit.CAPACITY, "cpu of a")
    assert mentions("4 services", "cpu of a").search(shortage.message)


def test_a_service_steps_down_so_that_another_of_its_tenant_fits_beside_what_is_borrowed() -> None:
    tenants = [Tenant("t", nominal={CPU: Share(0.5)}), Tenant("u", nominal={CPU: Share(0.5)})]
    demands = [demand("a", "t", 0.25, 0.5), demand("b", "t", 0.3), demand("c", "u", 0.4)]
    plan = share_by_entitlement(problem(tenants, demands))
    assert not plan.refused
    assert used(plan) == pytest.approx({"t": 0.55, "u": 0.4})


def test_within_a_tenant_low_priorities_step_down_and_are_refused_first() -> None:
    tenants = [Tenant("t"), Tenant("u")]
    low, others = many("t", 3, 0.2, priority=50), many("u", 3, 0.2)
    demands = [*low, *others, demand("first", "t", 0.3, priority=900)]
    plan = share_by_entitlement(problem(tenants, demands))
    assert plan.tenants[0].refused == 2
    assert {0, 1, 2} & {*plan.refused} == {*plan.refused} - {3, 4, 5}


def test_a_high_priority_takes_nothing_from_the_entitlement_of_others() -> None:
    demands = many("t", 9, 0.1, priority=900) + many("u", 9, 0.1, priority=0)
    assert used(share_by_entitlement(problem([Tenant("t"), Tenant("u")], demands))) == pytest.approx(
        {"t": 0.5, "u": 0.5}
    )


@pytest.mark.parametrize(("ceiling", "first"), [(None, "t"), (100, "u")])
def test_a_priority_ceiling_limits_priorities_against_other_tenants(ceiling: int | None, first: str) -> None:
    tenants = [Tenant("idle", 2.0), Tenant("t", priority_ceiling=ceiling), Tenant("u")]
    demands = [*many("t", 1, 0.6, priority=900), *many("u", 1, 0.6, priority=200)]
    plan = share_by_entitlement(problem(tenants, demands))
    assert used(plan)[first] == pytest.approx(0.6)
    assert len(plan.refused) == 1


def test_moves_for_accuracy_wait_for_the_budget() -> None:
    tenants = [Tenant("t"), Tenant("u")]
    demands = [replace(one, current=0) for one in many("u", 3, 0.1, 0.3)]
    first = share_by_entitlement(problem(tenants, demands, capacity=2.0), moves=0)
    assert first.moved == (0, 1, 2)  # within its entitlement: none of them waits
    small = problem([Tenant("t", 9.0), Tenant("u")], demands)
    for moves in range(4):
        plan = share_by_entitlement(small, moves=moves)
        assert len(plan.moved) == plan.spent == moves
        assert len(plan.waiting) == 3 - moves
        assert not set(plan.waiting) & set(plan.moved)
    waiting = share_by_entitlement(small, moves=1).tenants[1].shortages
    assert [one.limit for one in waiting] == [Limit.BUDGET]


def test_a_candidate_that_no_longer_fits_is_left_without_a_budget() -> None:
    demands = [replace(one, current=1) for one in many("t", 2, 0.1, 0.4)]
    plan = share_by_entitlement(problem([Tenant("t")], demands, capacity=0.6), moves=0)
    assert used(plan)["t"] == pytest.approx(0.5)
    assert len(plan.moved) == 1


def test_small_gains_move_nothing() -> None:
    demands = [replace(demand("s", "t", 0.2, 0.1), current=0)]
    near = problem([Tenant("t")], demands)
    value = near.value.copy()
    value[0] = [0.900, 0.904]
    worth = value * near.importance[:, None]
    assert share_by_entitlement(replace(near, value=value, worth=worth)).choices.tolist() == [0]


def test_share_rejects_what_only_entitlements_can_plan() -> None:
    for tenant in (Tenant("t", 0.0), Tenant("t", nominal={CPU: Share(0.5)})):
        with pytest.raises(BadValueError, match=r"tenant t: .*share_by_entitlement"):
            share(problem([tenant], [demand("s", "t", 0.1)]))


def test_bad_quotas_are_named() -> None:
    with pytest.raises(BadValueError, match=r"share 1\.5"):
        Share(1.5)
    with pytest.raises(BadValueError, match=r"amount -1"):
        Amount(-1.0)
    with pytest.raises(BadValueError, match=r"moves -1"):
        share_by_entitlement(problem([Tenant("t")], [demand("s", "t", 0.1)]), moves=-1)


def crowded(*more: Demand, current: tuple[int, int] | None = None) -> SharingProblem:
    """`u` uses the half of the CPU that belongs to it and the fifth that `t` leaves.

    The service `a` of `t` can leave the CPU for the uplink. Then `b` could have its better exit within the
    entitlement of `t`, if `u` did not use the rest.
    """
    in_use: tuple[int | None, int | None] = (None, None) if current is None else current
    local, remote = Option(0.8, {"cpu of a": 0.2}), Option(0.95, {"uplink of a": 0.9})
    leaves = Demand("a", "a", "t", (local, remote), current=in_use[0])
    held = None if current is None else 0
    demands = [
        leaves,
        demand("b", "t", 0.1, 0.5, current=in_use[1]),
        *(replace(one, current=held) for one in many("u", 7, 0.1)),
        *more,
    ]
    resources = [SharedResource("cpu of a", 1.0, CPU), SharedResource("uplink of a", 1.0, UPLINK)]
    resources.append(SharedResource("cpu of b", 1.0, CPU))
    return sharing_problem([Tenant("t"), Tenant("u")], resources, demands)


def test_a_tenant_borrows_nothing_by_which_it_would_lose_what_it_is_entitled_to() -> None:
    plan = share_by_entitlement(crowded())
    assert plan.choices.tolist() == [0, 0, *[0] * 7]
    assert plan.tenants[0].kinds[UPLINK].used == 0


def test_no_candidate_in_use_is_kept_by_which_a_tenant_loses_what_it_is_entitled_to() -> None:
    plan = share_by_entitlement(crowded(current=(1, 0)))
    assert plan.choices.tolist() in ([0, 0, *[0] * 7], [1, 1, *[0] * 5, REFUSED, REFUSED])


def test_a_new_plan_leaves_demands_that_gain_little_where_they_are() -> None:
    exits = Option(0.900, {"cpu of b": 0.1}), Option(0.904, {"cpu of b": 0.05})
    plan = share_by_entitlement(crowded(Demand("c", "b", "t", exits, current=0), current=(1, 0)))
    assert plan.moved == (0,)


def test_no_service_is_admitted_by_which_its_tenant_loses_what_it_is_entitled_to() -> None:
    both = Option(0.95, {"cpu of a": 0.4, "uplink of a": 0.2})
    less = Option(0.80, {"cpu of a": 0.05})
    wide = Option(0.80, {"uplink of a": 0.1}), Option(0.95, {"uplink of a": 0.5})
    demands = [
        Demand("a", "a", "t", (less, both)),
        Demand("b", "a", "t", wide),
        demand("large", "t", 0.75),
        demand("cpu", "u", 0.2),
        *(Demand(f"u-{number}", "a", "u", (Option(0.9, {"uplink of a": 0.1}),)) for number in range(7)),
    ]
    resources = [SharedResource("cpu of a", 1.0, CPU), SharedResource("uplink of a", 1.0, UPLINK)]
    plan = share_by_entitlement(sharing_problem([Tenant("t"), Tenant("u")], resources, demands))
    assert plan.refused == (2,)
    assert plan.choices.tolist()[:2] == [1, 0]


def test_a_plan_in_use_is_left_if_a_tenant_lacks_its_guarantee() -> None:
    """Only the exchange of two exits reaches it, and the worth of the other tenant hides it in the sum."""
    exits = [(0.80, 0.90), (0.80, 0.94)]
    mine = [
        Demand(
            f"t-{number}",
            "a",
            "t",
            (Option(low, {"cpu of a": 0.1}), Option(high, {"cpu of a": 0.3})),
            current=1 - number,
        )
        for number, (low, high) in enumerate(exits)
    ]
    others = [replace(one, rate=20.0, current=0) for one in many("u", 6, 0.1)]
    tenants = [Tenant("t", nominal={CPU: Share(0.4)}), Tenant("u", nominal={CPU: Share(0.6)})]
    assert share_by_entitlement(problem(tenants, [*mine, *others])).choices.tolist()[:2] == [0, 1]


def test_a_service_of_few_requests_has_what_its_tenant_is_entitled_to() -> None:
    demands = [demand("often", "t", 0.1), demand("seldom", "t", 0.1, 0.4, rate=1e-10), *many("u", 9, 0.1)]
    plan = share_by_entitlement(problem([Tenant("t"), Tenant("u")], demands))
    assert used(plan) == pytest.approx({"t": 0.5, "u": 0.5})


@pytest.mark.parametrize("in_use", [None, 0])
def test_a_service_that_borrows_one_resource_has_what_it_is_entitled_to_of_another(
    in_use: int | None,
) -> None:
    exits = Option(0.80, {"cpu of a": 0.2}), Option(0.95, {"cpu of a": 0.2, "uplink of a": 0.5})
    others = [
        Demand(f"t-{number}", "a", "t", (Option(0.9, {"uplink of a": 0.1}),), current=in_use)
        for number in range(10)
    ]
    resources = [SharedResource("cpu of a", 1.0, CPU), SharedResource("uplink of a", 1.0, UPLINK)]
    tenants = [Tenant("t"), Tenant("last", 0.0, nominal={UPLINK: Share(0.5)})]
    plan = share_by_entitlement(
        sharing_problem(tenants, resources, [Demand("s", "a", "last", exits), *others])
    )
    assert plan.choices[0] == 1
    assert [one.kinds[UPLINK].used for one in plan.tenants] == pytest.approx([0.5, 0.5])


def with_measured(made: SharingProblem, **amounts: float) -> SharingProblem:
    """The problem with what requests of tenants take beside demands, of its only resource."""
    return replace(made, measured=np.array([[amounts.get(one.name, 0.0)] for one in made.tenants]))


def test_what_requests_take_beside_demands_is_not_lent_within_the_entitlement() -> None:
    made = problem([Tenant("t"), Tenant("u")], many("u", 10, 0.1))
    assert used(share_by_entitlement(made))["u"] == pytest.approx(1.0)
    assert used(share_by_entitlement(with_measured(made, t=0.3)))["u"] == pytest.approx(0.7)
    assert used(share_by_entitlement(with_measured(made, t=3.0)))["u"] == pytest.approx(0.5)


def test_requests_beside_demands_of_a_tenant_come_on_top_of_these() -> None:
    demands = [*many("t", 2, 0.1), *many("u", 10, 0.1)]
    made = with_measured(problem([Tenant("t"), Tenant("u")], demands), t=0.2)
    assert used(share_by_entitlement(made)) == pytest.approx({"t": 0.2, "u": 0.6})


def test_amounts_beside_demands_are_checked() -> None:
    made = problem([Tenant("t")], many("t", 1, 0.1))
    for wrong, what in (
        (np.zeros((2, 1)), "shape"),
        (np.array([[-1.0]]), ">= 0"),
        (np.array([[np.nan]]), "finite"),
    ):
        with pytest.raises(BadValueError, match=what):
            from_arrays(
                tenants=made.tenants,
                resources=[SharedResource("cpu", 1.0, CPU)],
                tenant=made.tenant,
                rate=made.rate,
                value=made.value,
                rows=made.rows,
                uses=made.uses,
                measured=wrong,
            )
