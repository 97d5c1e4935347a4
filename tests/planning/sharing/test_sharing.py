"""The joint choice: guarantees of the fast solver, and a comparison with HiGHS."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_planning.sharing import (
    Demand,
    Option,
    Shared,
    SharedResource,
    SharingProblem,
    Tenant,
    reason,
    reasons,
    references_of,
    replan_pool,
    share,
    sharing_problem,
)
from edge_planning_lab.exact_sharing import share_exactly


def random_problem(
    seed: int, demands: int = 6, *, scale: float = 1.0, priorities: bool = False
) -> SharingProblem:
    """Two tenants at two nodes with a shared server; three or four candidates, of which better ones need
    more.
    """
    rng = np.random.default_rng(seed)
    resources = [
        SharedResource("cpu a", 1.5 * scale),
        SharedResource("cpu b", 1.2 * scale),
        SharedResource("triton", 1.4 * scale),
    ]
    made = []
    for number in range(demands):
        node = "ab"[number % 2]
        rate = float(rng.uniform(0.5, 2.0))
        values = np.sort(rng.uniform(0.5, 1.0, 3))
        cpu = np.sort(rng.uniform(0.05, 0.9, 3))
        options = [Option(float(v), {f"cpu {node}": float(c)}) for v, c in zip(values, cpu, strict=True)]
        options.append(Option(float(rng.uniform(0.8, 1.0)), {"triton": float(rng.uniform(0.3, 0.9))}))
        made.append(
            Demand(
                f"s{number}",
                node,
                "red" if number % 3 else "blue",
                tuple(options),
                rate,
                int(rng.choice([50, 100, 200])) if priorities else 100,
            )
        )
    return sharing_problem([Tenant("red"), Tenant("blue")], resources, made)


def load(problem: SharingProblem, shared: Shared) -> np.ndarray:
    taken = np.zeros(len(problem.resources))
    for demand, option in enumerate(shared.choices.tolist()):
        if option >= 0:
            np.add.at(taken, problem.rows[demand], problem.uses[demand, :, option])
    return taken


seeds = st.integers(0, 10_000)


@given(seeds, st.sampled_from([0.4, 1.0, 1.6]))
@settings(max_examples=25)
def test_the_plan_is_within_its_gap_of_the_optimum_and_the_bounds_hold(seed: int, scale: float) -> None:
    problem = random_problem(seed, scale=scale)
    references = references_of(problem)
    shared = share(problem, references)
    exact = share_exactly(problem, references)
    assert exact.optimal
    refused = int((exact.choices < 0).sum())
    assert len(shared.refused) >= refused
    if len(shared.refused) > refused:
        return
    assert shared.level_bound >= exact.level - 1e-6
    held = share_exactly(problem, references, floor=shared.floor)
    assert shared.bound >= held.utility - 1e-6
    assert shared.utility <= held.utility + 1e-6
    assert shared.utility >= held.utility * (1 - shared.gap) - 1e-6


@given(seeds, st.sampled_from([0.1, 0.5, 1.0, 3.0]))
@settings(max_examples=40)
def test_no_capacity_is_exceeded(seed: int, scale: float) -> None:
    problem = random_problem(seed, 20, scale=scale, priorities=True)
    assert (load(problem, share(problem)) <= problem.capacity * (1 + 1e-8)).all()


@given(seeds, st.floats(0.01, 100.0))
@settings(max_examples=20)
def test_scaling_all_weights_changes_nothing(seed: int, factor: float) -> None:
    problem = random_problem(seed, 12)
    scaled = tuple(replace(tenant, weight=tenant.weight * factor) for tenant in problem.tenants)
    other = share(replace(problem, tenants=scaled))
    assert other.choices.tolist() == share(problem).choices.tolist()


@given(seeds, st.integers(0, 2), st.floats(1.05, 2.0))
@settings(max_examples=15)
def test_more_capacity_never_lowers_the_exact_objective(seed: int, resource: int, factor: float) -> None:
    problem = random_problem(seed, 5)
    references = references_of(problem)
    name = problem.resources[resource]
    more = problem.with_capacities({name: float(problem.capacity[resource]) * factor})
    before, after = share_exactly(problem, references), share_exactly(more, references)
    refused = [int((one.choices < 0).sum()) for one in (before, after)]
    assert refused[1] <= refused[0]
    if refused[1] < refused[0]:
        return
    assert after.level >= before.level - 1e-7
    held = share_exactly(more, references, floor=before.floor)
    assert held.utility >= before.utility - 1e-6


@given(seeds)
@example(4096)  # served lower ones made room for a higher one that had been tried before
@settings(max_examples=40)
def test_a_higher_priority_is_never_refused_while_a_lower_one_holds_what_would_serve_it(seed: int) -> None:
    problem = random_problem(seed, 16, scale=0.35, priorities=True)
    shared = share(problem)
    free = problem.capacity - load(problem, shared)
    for demand in shared.refused:
        lower = np.flatnonzero((problem.priority < problem.priority[demand]) & (shared.choices >= 0))
        room = free.copy()
        for other in lower.tolist():
            np.add.at(room, problem.rows[other], problem.uses[other, :, shared.choices[other]])
        for option in np.flatnonzero(problem.valid[demand]).tolist():
            assert (problem.uses[demand, :, option] > room[problem.rows[demand]] + 1e-12).any()


def test_lower_priorities_step_down_before_anybody_is_refused() -> None:
    memoization, good = Option(0.8, {"cpu": 0.3}, "exit1"), Option(0.95, {"cpu": 0.6}, "exit5")
    demands = [Demand(f"s{n}", "edge", "t", (memoization, good), priority=100 * n) for n in (1, 2, 3)]
    shared = share(sharing_problem([Tenant("t")], [SharedResource("cpu", 1.25)], demands))
    assert shared.refused == ()
    assert shared.choices.tolist() == [0, 0, 1]
    why = reason(shared, 0)
    assert why is not None
    assert (why.resource, why.better, round(why.capacity, 6)) == ("cpu", "exit5", 1.5)


def test_when_refusal_is_unavoidable_the_lowest_priority_is_refused_and_told_what_would_do() -> None:
    only = Option(0.9, {"cpu": 0.5}, "only")
    demands = [Demand(f"s{n}", "edge", "t", (only,), priority=100 * n) for n in (3, 1, 2)]
    shared = share(sharing_problem([Tenant("t")], [SharedResource("cpu", 1.2)], demands))
    assert shared.refused == (1,)
    assert shared.certain_refusals
    first = reasons(shared)[0]
    assert (first.demand, first.got, first.better) == ("s1@edge", "refused", "only")
    assert first.resource == "cpu"
    assert first.capacity == pytest.approx(1.5)


def test_what_is_always_late_is_still_served_as_far_as_it_fits() -> None:
    late = Option(0.0, {"memory": 3.0}, "late")
    demands = [Demand(f"s{n}", "edge", "t", (late,), priority=100 * n) for n in (1, 2)]
    shared = share(sharing_problem([Tenant("t")], [SharedResource("memory", 4.0)], demands))
    assert shared.refused == (0,)


def test_equal_tenants_share_as_if_each_had_half_of_the_pool() -> None:
    # 9 CPU and 18 GB as in section 4 of the DRF paper: A's tasks need (1 CPU, 4 GB), B's (3 CPU, 1 GB). One
    # candidate per number of tasks. DRF gives A three tasks and B two: dominant shares of 2/3 each.
    def tasks(cpu: float, memory: float, most: int) -> tuple[Option, ...]:
        return tuple(Option(float(n), {"cpu": n * cpu, "memory": n * memory}) for n in range(1, most + 1))

    demands = [Demand("a", "pool", "A", tasks(1, 4, 4)), Demand("b", "pool", "B", tasks(3, 1, 3))]
    tenants = [Tenant("A", reference=4.5), Tenant("B", reference=3.0)]
    shared = share(
        sharing_problem(tenants, [SharedResource("cpu", 9), SharedResource("memory", 18)], demands)
    )
    assert shared.choices.tolist() == [2, 1]
    assert {name: round(one, 4) for name, one in shared.levels.items()} == {"A": 0.6667, "B": 0.6667}
    assert {name: round(one, 4) for name, one in shared.dominant_shares.items()} == {"A": 0.6667, "B": 0.6667}


def test_noise_switches_no_route_and_a_real_gain_does() -> None:
    problem = random_problem(5, 40, scale=6.0)
    first = share(problem)
    noise = 1 + 1e-4 * np.random.default_rng(1).standard_normal(problem.worth.shape)
    noisy = replace(problem, worth=problem.worth * noise).with_current(first.choices)
    assert share(noisy).choices.tolist() == first.choices.tolist()
    memoization = Option(0.7, {"cpu": 0.1})
    dear = Option(0.9, {"cpu": 0.8})
    demands = [Demand(f"s{n}", "e", "t", (memoization, dear), current=0) for n in range(2)]
    gained = share(sharing_problem([Tenant("t")], [SharedResource("cpu", 2.0)], demands))
    assert (gained.choices.tolist(), gained.moves) == ([1, 1], 2)


@given(seeds)
@settings(max_examples=10)
def test_the_same_input_has_the_same_plan(seed: int) -> None:
    first, second = (share(random_problem(seed, 20)) for _ in range(2))
    assert first.choices.tolist() == second.choices.tolist()
    assert (first.utility, first.bound) == (second.utility, second.bound)


@given(seeds, st.sampled_from([0.6, 0.8, 1.3]))
@settings(max_examples=20)
def test_replanning_a_changed_resource_stays_near_the_full_solve(seed: int, factor: float) -> None:
    problem = random_problem(seed, 60, scale=9.0)
    first = share(problem)
    changed = problem.with_capacities({"cpu a": float(problem.capacity[0]) * factor})
    again = replan_pool(changed, first, resources=["cpu a"])
    full = share(changed.with_current(first.choices), references_of(problem))
    assert (load(changed, again) <= changed.capacity * (1 + 1e-8)).all()
    assert len(again.refused) == len(full.refused)
    assert again.utility >= 0.97 * full.utility
    assert again.bound >= again.utility - 1e-6


def test_replanning_moves_only_what_the_changed_resource_touches() -> None:
    problem = random_problem(3, 60, scale=9.0)
    first = share(problem)
    changed = problem.with_capacities({"cpu a": float(problem.capacity[0]) * 0.93})
    again = replan_pool(changed, first, resources=["cpu a"], widening=1.0)
    at_a = np.array([name[1] == "a" for name in problem.names or ()])
    assert (again.choices == first.choices)[~at_a].all()
    assert again.moves >= 1
    assert replan_pool(problem, first, resources=["cpu a"]).choices.tolist() == first.choices.tolist()
