"""Plans of small pools against the best ones, found by exhaustive search."""

from statistics import mean

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.pool_referee import best_score, plan_score, small_pool
from edge_planning.pools import plan_pool


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_small_pool_refuses_hardly_more_than_it_must(seed: int) -> None:
    problem = small_pool(seed, demands=3)
    best, reached = best_score(problem), plan_score(problem, plan_pool(problem))
    assert sum(reached[0]) <= sum(best[0]) + 1
    assert reached >= (best[0], best[1] - 1e-6)


def test_most_small_pools_get_the_best_plan_there_is() -> None:
    refusals, gaps = 0, []
    for seed in range(40):
        problem = small_pool(seed)
        best, reached = best_score(problem), plan_score(problem, plan_pool(problem))
        refusals += reached[0] != best[0]
        gaps.append(1 - reached[1] / best[1] if best[1] else 0.0)
    assert refusals == 0
    assert mean(gaps) < 0.02
    assert sum(gap > 1e-9 for gap in gaps) <= 4
