"""Tables that stand although a first plan of the pool would give others."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from benchmarks.planner.pool_referee import small_pool
from edge_planning.pools import PoolPlan, plan_pool
from edge_planning.pools.occupancy import Occupancy
from edge_planning.pools.standing import Standing, with_standing


def published(plan: PoolPlan) -> Mapping[str, Standing]:
    """The tables of a plan as Placements tell them: without the bandwidths from which they meet the SLO."""
    return {
        name: Standing(
            tuple(replace(route, met_from=None) for route in placed.plan.table.routes), placed.server
        )
        for name, placed in plan.placed.items()
    }


def plans(seed: int) -> tuple[PoolPlan, PoolPlan]:
    """Plans of a pool that place the same demands: after its first demand came, and from nothing."""
    problem = small_pool(seed)
    earlier = plan_pool(replace(problem, demands=problem.demands[1:]))
    kept, fresh = plan_pool(problem, earlier), plan_pool(problem)
    assert kept.placed.keys() == fresh.placed.keys()
    return kept, fresh


@pytest.mark.parametrize("seed", [1, 5, 6, 7, 15, 24, 32, 45, 83, 143])
def test_demands_hold_what_their_standing_tables_hold(seed: int) -> None:
    kept, fresh = plans(seed)
    found = with_standing(fresh, published(kept))
    assert {name: one.plan.table.routes for name, one in fresh.placed.items()} != {
        name: one.plan.table.routes for name, one in kept.placed.items()
    }
    for name, one in kept.placed.items():
        held = found.placed[name].reservation
        assert (held.uses, held.parts) == (one.reservation.uses, one.reservation.parts)
        names = [[route.name for route in each.placed[name].plan.table.routes] for each in (kept, found)]
        assert names[0] == names[1]
    assert found.used == pytest.approx(kept.used)


@pytest.mark.parametrize("seed", [1, 5, 6, 7, 15, 24, 32, 45, 83, 143])
def test_the_same_candidates_fit_beside_standing_tables_as_before(seed: int) -> None:
    kept, fresh = plans(seed)
    before, after = Occupancy(kept), Occupancy(with_standing(fresh, published(kept)))
    for name in kept.placed:
        fit = [each.alternatives(name, "cloud").unfit.keys() for each in (before, after)]
        assert fit[0] == fit[1]


def test_a_plan_with_the_tables_that_stand_is_left_as_it_is() -> None:
    _, fresh = plans(1)
    assert with_standing(fresh, published(fresh)) is fresh
