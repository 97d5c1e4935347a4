"""Incremental planning of changes: demands, links that fail and recover, demands that nothing can serve."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning.sharing import (
    Demand,
    Option,
    Shared,
    SharedResource,
    SharingProblem,
    Tenant,
    replan_pool,
    share,
    sharing_problem,
)
from edge_planning_lab.exact_sharing import share_exactly

NEAR, FAR = Option(0.7, {"cpu": 0.1}, "near"), Option(0.95, {"uplink": 1.0}, "far")


def pool(uplink: float = 10.0, *options: tuple[Option, ...], cpu: float = 2.0) -> SharingProblem:
    """A service for each tuple of candidates."""
    demands = [Demand(f"s{n}", "edge", "t", chosen) for n, chosen in enumerate(options)]
    return sharing_problem(
        [Tenant("t")], [SharedResource("cpu", cpu), SharedResource("uplink", uplink)], demands
    )


def random_pool(seed: int, count: int = 30) -> SharingProblem:
    """Two tenants; each demand has two candidates at one of two nodes and one at a shared server."""
    rng = np.random.default_rng(seed)
    demands = []
    for number in range(count):
        node = f"cpu {'ab'[number % 2]}"
        low, high = np.sort(rng.uniform(0.5, 1.0, 2)).tolist()
        little, much = np.sort(rng.uniform(0.05, 0.9, 2)).tolist()
        far = Option(float(rng.uniform(0.8, 1.0)), {"triton": float(rng.uniform(0.3, 0.9))})
        options = (Option(low, {node: little}), Option(high, {node: much}), far)
        demands.append(Demand(f"s{number}", "n", f"t{number % 3 % 2}", options, float(rng.uniform(0.5, 2.0))))
    capacities = [SharedResource(name, count / 6) for name in ("cpu a", "cpu b", "triton")]
    return sharing_problem([Tenant("t0"), Tenant("t1")], capacities, demands)


def with_others(problem: SharingProblem, rng: np.random.Generator, changed: list[int]) -> SharingProblem:
    uses, value, rate = problem.uses.copy(), problem.value.copy(), problem.rate.copy()
    for demand in changed:
        uses[demand] *= rng.uniform(0.5, 1.5)
        value[demand] = np.minimum(value[demand] * rng.uniform(0.7, 1.2), 1.0)
        rate[demand] *= rng.uniform(0.5, 1.5)
    worth = np.where(problem.valid, value, 0.0) * (problem.importance * rate)[:, None]
    return replace(problem, uses=uses, value=value, rate=rate, worth=worth)


def fits(problem: SharingProblem, shared: Shared) -> bool:
    taken = np.zeros(len(problem.resources))
    for demand, option in enumerate(shared.choices.tolist()):
        if option >= 0:
            np.add.at(taken, problem.rows[demand], problem.uses[demand, :, option])
    return bool((taken <= problem.capacity * (1 + 1e-8)).all())


def changes(seed: int, steps: Sequence[bool]) -> Iterator[tuple[SharingProblem, Shared, Shared]]:
    """A pool after each change (True: of demands, False: of a capacity), with the plans before and after."""
    rng = np.random.default_rng(seed)
    problem = first = random_pool(seed)
    plan = share(problem)
    for of_demands in steps:
        resources: list[str] = []
        changed: list[int] = []
        if of_demands:
            changed = sorted(set(rng.integers(0, len(problem), 4).tolist()))
            problem = with_others(problem, rng, changed)
        else:
            index = int(rng.integers(3))
            resources = [problem.resources[index]]
            factor = float(rng.choice([0.0, 0.6, 1.0, 1.4]))
            problem = problem.with_capacities({resources[0]: float(first.capacity[index]) * factor})
        before, plan = plan, replan_pool(problem, plan, resources=resources, demands=changed)
        yield problem, before, plan


@given(st.integers(0, 10_000), st.lists(st.booleans(), min_size=2, max_size=5))
@settings(max_examples=15)
def test_a_series_of_changes_respects_the_capacities_and_the_bound(seed: int, steps: list[bool]) -> None:
    for problem, _, plan in changes(seed, steps):
        assert fits(problem, plan)
        assert plan.bound >= plan.utility - 1e-9


def test_an_incremental_plan_is_close_to_a_full_one_and_its_bound_covers_it() -> None:
    steps = comparable = bounded = 0
    for seed in range(12):
        for problem, before, plan in changes(seed, [True, False, True, False]):
            assert plan.warm is not None
            full = share(problem.with_current(before.choices), plan.warm.frame.references)
            steps += 1
            if len(full.refused) == len(plan.refused):
                comparable += 1
                assert plan.utility >= 0.95 * full.utility
                if full.level >= plan.floor:
                    bounded += 1
                    assert plan.bound >= full.utility - 1e-9
    assert (steps, comparable >= 40, bounded >= 40) == (48, True, True)  # the bounds were compared


def test_a_changed_demand_is_planned_again_and_the_others_stay() -> None:
    problem = pool(2.0, (NEAR, FAR), (NEAR, FAR), (NEAR, FAR))
    plan = share(problem)
    assert sorted(plan.choices.tolist()) == [0, 1, 1]
    remote = int(np.flatnonzero(plan.choices == 1)[0])
    uses = problem.uses.copy()
    uses[remote] *= 3.0  # now needs an uplink of 3 for the remote candidate
    changed = replace(problem, uses=uses)
    again = replan_pool(changed, plan, demands=[remote], widening=1.0)
    assert fits(changed, again)
    assert again.choices[remote] == 0
    others = np.arange(3) != remote
    assert again.choices[others].tolist() == plan.choices[others].tolist()


def test_a_link_that_comes_back_is_used_again_and_the_bound_counts_it() -> None:
    problem = pool(10.0, (NEAR, FAR), (NEAR, FAR))
    whole = share(problem)
    cut = replan_pool(problem.with_capacities({"uplink": 0.0}), whole, resources=["uplink"])
    assert cut.choices.tolist() == [0, 0]
    back = replan_pool(problem, cut, resources=["uplink"])
    assert back.choices.tolist() == [1, 1]
    assert back.bound >= 1.9 - 1e-9
    assert back.bound >= back.utility


def test_a_capacity_that_changed_without_being_named_is_kept_too() -> None:
    problem = pool(10.0, (NEAR, FAR), (NEAR, FAR))
    less = problem.with_capacities({"uplink": 1.0})
    again = replan_pool(less, share(problem))
    assert fits(less, again)
    assert sorted(again.choices.tolist()) == [0, 1]


def test_a_demand_for_a_missing_resource_is_refused_and_the_others_are_served() -> None:
    problem = pool(0.0, (FAR,), (NEAR,), (NEAR, FAR))
    shared, exact = share(problem), share_exactly(problem)
    assert shared.refused == (0,)
    assert shared.certain_refusals
    assert shared.choices.tolist() == exact.choices.tolist() == [-1, 0, 0]
    assert shared.utility <= shared.bound <= 1.05 * shared.utility
    assert replan_pool(problem, share(pool(5.0, (FAR,), (NEAR,), (NEAR, FAR)))).refused == (0,)


def test_bad_changes_are_named() -> None:
    problem = pool(10.0, (NEAR, FAR), (NEAR, FAR))
    plan = share(problem)
    with pytest.raises(BadValueError, match=r"demand 2\b.*\b2$"):
        replan_pool(problem, plan, demands=[2])
    with pytest.raises(BadValueError, match="resource gpu"):
        replan_pool(problem, plan, resources=["gpu"])
    with pytest.raises(BadValueError, match=r"choices \[7\] do not exist"):
        problem.with_current(np.array([0, 7]))
    with pytest.raises(BadValueError, match=r"references \[nan\]"):
        share(problem, np.array([np.nan]))
    assert len(replan_pool(pool(10.0, (NEAR, FAR)), plan).choices) == 1
