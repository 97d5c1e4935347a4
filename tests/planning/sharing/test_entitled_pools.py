"""Random pools that tenants share: what holds in every plan, whatever the demands and quotas."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_planning.sharing import (
    Amount,
    Demand,
    EntitledPlan,
    Option,
    Quota,
    ResourceKind,
    Share,
    SharedResource,
    SharingProblem,
    Tenant,
    share_by_entitlement,
    sharing_problem,
)
from edge_planning.sharing.arrays import REFUSED
from edge_planning.sharing.holdings import Holdings

NODES = "ab"
KINDS = (ResourceKind.CPU, ResourceKind.UPLINK, ResourceKind.TRITON_TIME)
EXAMPLES = settings(max_examples=150)
FEW = settings(max_examples=60)


@st.composite
def quotas(draw: st.DrawFn) -> Mapping[ResourceKind, Quota]:
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=2, unique=True))
    part = st.floats(0.0, 0.8)
    return {kind: draw(st.one_of(st.builds(Share, part), st.builds(Amount, part))) for kind in kinds}


@st.composite
def pools(draw: st.DrawFn, weights: tuple[float, ...] = (0.0, 0.5, 1.0, 1.0, 4.0)) -> SharingProblem:
    """Two nodes with uplinks to one Triton server, two to four tenants, local and remote candidates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tenants = [
        Tenant(
            f"t{number}",
            draw(st.sampled_from(weights)),
            nominal=draw(quotas()),
            borrowing_limit=draw(quotas()),
            lending_limit=draw(quotas()),
            priority_ceiling=draw(st.sampled_from([None, 100])),
        )
        for number in range(draw(st.integers(2, 4)))
    ]
    resources = [SharedResource(f"{kind} {node}", 1.0, kind) for kind in KINDS[:2] for node in NODES]
    resources.append(SharedResource("triton", 1.0, KINDS[2]))
    demands = [
        random_demand(rng, f"s{number}", str(rng.choice([one.name for one in tenants])))
        for number in range(draw(st.integers(1, 14)))
    ]
    return sharing_problem(tenants, resources, demands)


def random_demand(rng: np.random.Generator, name: str, tenant: str) -> Demand:
    """Two or three local exits, and mostly a remote candidate."""
    node = str(rng.choice(list(NODES)))
    size = float(rng.choice([1e-6, 0.05, 0.2, 0.5]))
    count = int(rng.integers(2, 4))
    values, sizes = np.sort(rng.uniform(0.5, 0.95, count)), np.sort(rng.uniform(0.2, 1.2, count)) * size
    options = [
        Option(float(value), {f"cpu {node}": float(amount)})
        for value, amount in zip(values, sizes, strict=True)
    ]
    if rng.random() < 0.7:
        remote = {
            f"cpu {node}": float(rng.uniform(0, 0.3)) * size,
            f"uplink {node}": float(rng.uniform(0.1, 1.0)) * size,
            "triton": float(rng.uniform(0.1, 1.0)) * size,
        }
        options.append(Option(float(rng.uniform(0.8, 1.0)), remote))
    priority = int(rng.choice([50, 100, 300]))
    return Demand(name, node, tenant, tuple(options), float(rng.uniform(0.5, 2.0)), priority)


def holdings(plan: EntitledPlan, least: np.ndarray | None = None) -> Holdings:
    return Holdings(plan.problem, plan.entitled, plan.problem.valid, plan.choices, least)


def worths(plan: EntitledPlan) -> np.ndarray:
    problem, choices = plan.problem, plan.choices
    each = np.where(choices == REFUSED, 0.0, problem.worth[np.arange(len(choices)), choices])
    return np.bincount(problem.tenant, each, len(problem.tenants))


def in_use(problem: SharingProblem, plan: EntitledPlan) -> SharingProblem:
    return problem.with_current(plan.choices)


@st.composite
def used_pools(draw: st.DrawFn) -> SharingProblem:
    """Pools with arbitrary candidates in use, which need not fit."""
    problem = draw(pools())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = problem.worth.shape[1]
    current = rng.integers(REFUSED, width, len(problem))
    valid = problem.valid[np.arange(len(problem)), np.maximum(current, 0)]
    return problem.with_current(np.where(valid, current, REFUSED))


@EXAMPLES
@given(used_pools(), st.sampled_from([None, 0, 2]))
def test_every_plan_fits_the_pool_and_the_limits_of_tenants(
    problem: SharingProblem, moves: int | None
) -> None:
    held = holdings(share_by_entitlement(problem, moves=moves))
    assert min(held.free) >= -1e-8
    assert (np.array(held.use) <= held.entitled.most + 1e-8).all()
    assert (held.entitled.nominal.sum(axis=0) <= problem.capacity + 1e-9).all()


@EXAMPLES
@given(pools())
def test_no_tenant_lacks_anything_within_its_entitlement(problem: SharingProblem) -> None:
    held = holdings(share_by_entitlement(problem))
    for tenant in range(len(problem.tenants)):
        demands, _ = held.claims(tenant)
        assert not len(demands)


@EXAMPLES
@given(used_pools(), st.sampled_from([None, 0, 2]))
def test_no_tenant_lacks_anything_within_its_entitlement_that_is_worth_a_move(
    problem: SharingProblem, moves: int | None
) -> None:
    cost = problem.move_cost * problem.importance * problem.rate
    held = holdings(share_by_entitlement(problem, moves=moves), cost)
    for tenant in range(len(problem.tenants)):
        assert not len(held.claims(tenant)[0])


@EXAMPLES
@given(pools())
def test_an_owner_has_at_least_what_it_has_within_its_entitlement_alone(problem: SharingProblem) -> None:
    plan = share_by_entitlement(problem)
    found = worths(plan)
    for number, tenant in enumerate(problem.tenants):
        members = np.flatnonzero(problem.tenant == number)
        if not len(members):
            continue
        alone = plan.guaranteed[tenant.name].choices
        refused = {int(one) for one in members[plan.choices[members] == REFUSED]}
        assert refused <= {int(one) for one in members[alone == REFUSED]}
        if not (alone == REFUSED).any():
            worth = problem.worth[members, alone].sum()
            assert found[number] >= worth * (1 - 1e-9)


@EXAMPLES
@given(pools(), st.integers(0, 2**32 - 1))
def test_an_owner_gets_its_entitlement_back_in_one_plan(problem: SharingProblem, seed: int) -> None:
    owner = int(np.random.default_rng(seed).integers(len(problem.tenants)))
    others = np.flatnonzero(problem.tenant != owner)
    assume(0 < len(others) < len(problem))
    lent = share_by_entitlement(problem.of(others))
    current = np.full(len(problem), REFUSED, dtype=np.int64)
    current[others] = lent.choices
    cost = problem.move_cost * problem.importance * problem.rate
    held = holdings(share_by_entitlement(problem.with_current(current), moves=0), cost)
    assert not len(held.claims(owner)[0])


@EXAMPLES
@given(used_pools())
def test_the_plan_stops_changing_after_one_round(problem: SharingProblem) -> None:
    first = share_by_entitlement(problem)
    second = share_by_entitlement(in_use(problem, first))
    assert second.choices.tolist() == first.choices.tolist()
    assert second.moved == ()


@FEW
@given(used_pools(), st.integers(1, 3))
def test_with_a_budget_of_moves_no_plan_comes_back(problem: SharingProblem, moves: int) -> None:
    seen: list[list[int]] = []
    for _ in range(len(problem) + 3):
        plan = share_by_entitlement(problem, moves=moves)
        assert plan.spent <= moves
        if seen and plan.choices.tolist() == seen[-1]:
            return
        assert plan.choices.tolist() not in seen
        seen.append(plan.choices.tolist())
        problem = in_use(problem, plan)
    pytest.fail("the plan still changes")


@FEW
@given(pools(), st.integers(0, 2**32 - 1))
def test_when_a_tenant_comes_and_goes_the_same_two_plans_alternate(
    problem: SharingProblem, seed: int
) -> None:
    owner = int(np.random.default_rng(seed).integers(len(problem.tenants)))
    others = np.flatnonzero(problem.tenant != owner)
    assume(0 < len(others) < len(problem))
    with_owner = share_by_entitlement(problem)
    without = share_by_entitlement(problem.of(others))
    held = with_owner.choices[others]
    again = share_by_entitlement(problem.of(others).with_current(held))
    assert worths(again).sum() >= (1 - 0.01) * worths(without).sum() - 0.01 * len(problem)
    assert set(again.refused) <= set(without.refused)


@EXAMPLES
@given(pools((0.0, 1.0, 2.0)), st.integers(0, 2**32 - 1))
def test_a_weight_of_0_takes_nothing_from_others(problem: SharingProblem, seed: int) -> None:
    plain = tuple(Tenant(one.name, one.weight) for one in problem.tenants)
    last = [number for number, one in enumerate(plain) if one.weight == 0]
    paying = np.flatnonzero(~np.isin(problem.tenant, last))
    assume(last and len(paying))
    with_last = share_by_entitlement(replace(problem, tenants=plain))
    without = share_by_entitlement(replace(problem, tenants=plain).of(paying))
    refused = {int(paying[one]) for one in without.refused}
    assert {one for one in with_last.refused if int(problem.tenant[one]) not in last} <= refused


@FEW
@given(st.integers(3, 30), st.integers(2, 6), st.sampled_from([100, 300]))
def test_splitting_services_wins_nothing_but_what_is_too_small_for_others(
    services: int, parts: int, priority: int
) -> None:
    """Two tenants ask for the same, which is more than the pool; one has more and smaller services.

    A third of the pool is idle. With priorities above the ceiling, the tenant wins nothing either.
    """
    size = 1.2 / services

    def of(tenant: str, count: int, priority: int) -> list[Demand]:
        option = Option(0.9, {"cpu": size * services / count})
        return [
            Demand(f"{tenant}-{n}", "a", tenant, (option,), services / count, priority) for n in range(count)
        ]

    tenants = [Tenant(name, priority_ceiling=100) for name in ("splits", "honest", "idle")]
    demands = [*of("honest", services, 100), *of("splits", services * parts, priority)]
    plan = share_by_entitlement(
        sharing_problem(tenants, [SharedResource("cpu", 1.0, ResourceKind.CPU)], demands)
    )
    splits, honest = (one.kinds[ResourceKind.CPU].used for one in plan.tenants[:2])
    assert abs(honest - splits) <= 2 * size + 1e-9


@EXAMPLES
@given(pools())
def test_small_uses_are_counted_exactly(problem: SharingProblem) -> None:
    plan = share_by_entitlement(problem)
    held = np.array(holdings(plan).use)
    for number, tenant in enumerate(plan.tenants):
        total = sum(one.used for one in tenant.kinds.values())
        assert total == pytest.approx(held[number].sum(), rel=1e-9)
        assert (total > 0) == bool((held[number] > 0).any())
        assert tenant.dominant_share > 0 or total == 0
    borrowed = sum(one.borrowed for tenant in plan.tenants for one in tenant.kinds.values())
    lent = sum(one.lent for tenant in plan.tenants for one in tenant.kinds.values())
    assert lent <= borrowed + 1e-9


@EXAMPLES
@given(pools())
def test_what_fits_is_not_left_idle(problem: SharingProblem) -> None:
    held = holdings(share_by_entitlement(problem))
    for demand, now in enumerate(held.choice):
        for option in np.flatnonzero(problem.valid[demand]).tolist():
            if now == REFUSED:
                assert not held.fits(demand, option)


@FEW
@given(pools(), st.integers(0, 2**32 - 1))
def test_a_plan_beside_a_previous_one_is_the_same_as_without(problem: SharingProblem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = share_by_entitlement(problem)
    capacity = problem.capacity.copy()
    capacity[int(rng.integers(len(capacity)))] *= float(rng.uniform(0.3, 1.5))
    changed = replace(in_use(problem, first), capacity=capacity)
    beside = share_by_entitlement(changed, previous=first)
    assert beside.choices.tolist() == share_by_entitlement(changed).choices.tolist()


@FEW
@given(pools(), st.integers(0, 2**32 - 1))
def test_the_order_of_tenants_does_not_matter(problem: SharingProblem, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem.tenants))
    position = np.argsort(order)
    tenants = tuple(problem.tenants[number] for number in order.tolist())
    other = replace(problem, tenants=tenants, tenant=position[problem.tenant].astype(np.int64))
    assert share_by_entitlement(other).choices.tolist() == share_by_entitlement(problem).choices.tolist()


@st.composite
def single_resource_pools(draw: st.DrawFn) -> SharingProblem:
    """One node, tenants without limits, services with two exits each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tenants = [
        Tenant(f"t{n}", draw(st.sampled_from([0.5, 1.0, 2.0]))) for n in range(draw(st.integers(2, 4)))
    ]
    demands = []
    for number in range(draw(st.integers(2, 16))):
        cheap = float(rng.uniform(0.02, 0.3))
        good = cheap * float(rng.uniform(1.2, 4.0))
        options = (Option(0.8, {"cpu": cheap}), Option(0.95, {"cpu": good}))
        demands.append(Demand(f"s{number}", "a", str(rng.choice([one.name for one in tenants])), options))
    return sharing_problem(tenants, [SharedResource("cpu", 1.0, ResourceKind.CPU)], demands)


@EXAMPLES
@given(single_resource_pools())
def test_borrowers_step_down_before_anything_is_refused(problem: SharingProblem) -> None:
    plan = share_by_entitlement(problem)
    held = holdings(plan)
    least = problem.uses[:, 0].min(axis=1)
    reclaimable = []
    for number, tenant in enumerate(problem.tenants):
        members = np.flatnonzero(problem.tenant == number)
        served = members[plan.choices[members] != REFUSED]
        if not len(members):
            reclaimable.append((0.0, 0.0))
            continue
        alone = plan.guaranteed[tenant.name].choices
        kept = alone != REFUSED
        own = float(problem.uses[members[kept], 0, alone[kept]].sum())
        own += float(least[np.setdiff1d(served, members[kept])].sum())
        used = held.use[number][0]
        reclaimable.append((max(used - own, 0.0), used - float(least[served].sum())))
    for demand in plan.refused:
        owner = int(problem.tenant[demand])
        room = held.free[0] + reclaimable[owner][1]
        room += sum(one[0] for number, one in enumerate(reclaimable) if number != owner)
        assert room < least[demand] + 1e-9


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=4), st.floats(0.0, 0.1))
def test_idle_capacity_is_lent_by_weighted_max_min(weights: list[float], quota: float) -> None:
    tenants = [
        Tenant(f"t{number}", weight, nominal={ResourceKind.CPU: Share(quota)})
        for number, weight in enumerate(weights)
    ]
    size = 0.01
    demands = [
        Demand(f"{one.name}-{n}", "a", one.name, (Option(0.9, {"cpu": size}),))
        for one in tenants
        for n in range(round(1 / size))
    ]
    plan = share_by_entitlement(
        sharing_problem(tenants, [SharedResource("cpu", 1.0, ResourceKind.CPU)], demands)
    )
    lent = 1.0 - quota * len(weights)
    for tenant in plan.tenants:
        fair = lent * tenant.weight / sum(weights)
        assert tenant.kinds[ResourceKind.CPU].borrowed == pytest.approx(fair, abs=3 * size)


def test_capacities_that_vary_by_a_hundredth_move_few_demands() -> None:
    rng = np.random.default_rng(0)
    tenants = [Tenant(f"t{number}") for number in range(4)]
    resources = [SharedResource(f"{kind} {node}", 6.0, kind) for kind in KINDS[:2] for node in NODES]
    resources.append(SharedResource("triton", 8.0, KINDS[2]))
    demands = [random_demand(rng, f"s{number}", f"t{number % 4}") for number in range(200)]
    problem = sharing_problem(tenants, resources, demands)
    plan = share_by_entitlement(problem)
    assert plan.refused
    moved = 0
    for _ in range(10):
        capacity = problem.capacity * rng.uniform(0.99, 1.01, len(resources))
        plan = share_by_entitlement(replace(in_use(problem, plan), capacity=capacity), previous=plan)
        moved += len(plan.moved)
    assert moved <= 10 * 0.1 * len(problem)
