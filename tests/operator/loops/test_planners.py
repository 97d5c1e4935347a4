"""Plans of large pools do not hold up those of others."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from edge_operator.keys import ServiceKey
from edge_operator.loops.planners import LARGE, THREADS, Planners
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import NOTHING, PoolPlan
from edge_operator.pool.states import PoolState

World = Any  # tests/operator/conftest.py


def of_services(world: World, count: int) -> PoolState:
    """A pool with so many services that have no Placements yet."""
    keys: Any = {ServiceKey("default", f"service-{i}"): None for i in range(count)}
    return PoolState("services", world.settings, None, services=keys)


def of_placements(world: World, count: int) -> PoolState:
    """A pool with so many Placements."""
    return replace(of_services(world, 1), placements=({},) * count)


@pytest.mark.parametrize("of", [of_services, of_placements])
async def test_a_small_pool_does_not_wait_for_plans_of_large_ones(world: World, of: Any) -> None:
    held, now = threading.Event(), Now(0.0, world.clock().wall())

    def plan(state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
        if state is large:
            assert held.wait(30)
        return previous

    large, planners = of(world, LARGE + 1), Planners(plan)
    slow = [asyncio.create_task(planners.planned(large, NOTHING, now)) for _ in range(THREADS + 1)]
    try:
        async with asyncio.timeout(20):
            assert await planners.planned(of(world, LARGE), NOTHING, now) is NOTHING
        assert not any(task.done() for task in slow)
    finally:
        held.set()
    assert await asyncio.gather(*slow) == [NOTHING] * len(slow)
    planners.stop()
