"""A deletion waits for no plan of its pool, and a plan made before it brings nothing back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_operator.clients import Clock
from edge_operator.effects.executor import Executor
from edge_operator.effects.writes import write
from edge_operator.loops.pools import PoolLoop
from edge_operator.pool import plans
from edge_operator.pool.actions import Apply
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.states import PoolState
from operator_objects import KEY

World = Any  # tests/operator/conftest.py
IDENTITY = ("InferenceService", KEY.namespace, KEY.name)


def changes_tables(plan: PoolPlan) -> bool:
    return any(isinstance(each, Apply) for each in plan.services[KEY].objects)


class SlowPlans:
    """A pool's loop with the operator's executor, whose plans can be held."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._free = threading.Event()
        self._free.set()
        self._holds: Callable[[PoolPlan], bool] = lambda _: False
        self.planning = False
        self.held: list[PoolPlan] = []
        """Plans that were made, and are not known to the loop yet."""
        now = asyncio.get_running_loop().time
        self.executor = Executor(now)
        shared = replace(world.shared(), executor=self.executor, clock=Clock(monotonic=now))
        self.loop = PoolLoop("factory", shared)
        self.task = asyncio.create_task(self.loop.run(self._planned))

    async def _planned(self, state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
        self.planning = True
        try:
            return await asyncio.to_thread(self._plan, state, previous, now)
        finally:
            self.planning = False

    def _plan(self, state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
        found = plans.plan(state, previous, now)
        if self._holds(found):
            self.held.append(found)
            assert self._free.wait(60)
            self.held.remove(found)
        return found

    def hold(self, which: Callable[[PoolPlan], bool] = lambda _: True) -> None:
        """Plans end when they are let go. which: those that are held."""
        self._holds = which
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not met():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.01)

    async def until_quiet(self) -> None:
        await self.until(lambda: self.executor.idle and not self.loop.due and not self.planning)

    async def until_served(self) -> None:
        await self.until(lambda: len(self.world.placements()) == 3)
        await self.until_quiet()

    async def until_a_plan_is_held(self) -> None:
        await self.until(lambda: bool(self.held))

    def delete(self) -> None:
        """A user deletes the service, and the watch reports it."""
        body = self.world.service()
        at = {"deletionTimestamp": "2026-03-01T12:00:00Z"}
        self.world.cluster.put(body | {"metadata": body["metadata"] | at})
        self.loop.service_changed(KEY, mended=True, urgent=True)

    @property
    def there(self) -> bool:
        """Whether the service still exists."""
        return IDENTITY in self.world.cluster.objects


@pytest.fixture
async def slow(world: World) -> AsyncIterator[SlowPlans]:
    found = SlowPlans(world)
    yield found
    found.let_go()
    found.task.cancel()
    await asyncio.gather(found.task, return_exceptions=True)
    await found.executor.stop()
    await asyncio.to_thread(found.executor.wait_for_writes)


async def test_a_service_is_deleted_with_its_placements_and_tails_while_a_plan_is_made(
    slow: SlowPlans, world: World
) -> None:
    await slow.until_served()
    assert world.triton.models
    slow.hold()
    slow.loop.topology_changed()
    await slow.until_a_plan_is_held()
    slow.delete()
    await slow.until(lambda: not slow.there)
    assert slow.held
    assert world.placements() == {}
    assert world.triton.models == set()


async def test_a_plan_that_was_made_before_a_deletion_writes_nothing_back(
    slow: SlowPlans, world: World
) -> None:
    await slow.until_served()
    slow.hold(changes_tables)
    world.change(mode="LocalOnly")
    slow.loop.service_changed(KEY)
    await slow.until_a_plan_is_held()
    (made,) = slow.held
    slow.delete()
    await slow.until(lambda: not slow.there)
    world.log.clear()
    slow.let_go()
    await slow.until_quiet()
    assert world.log == []
    assert KEY not in slow.loop.plan.services
    assert write(world.cluster, made.services[KEY].objects).conflict is not None
    assert world.placements() == {}


async def test_a_service_created_again_while_a_plan_is_made_gets_what_is_planned_for_itself(
    slow: SlowPlans, world: World
) -> None:
    await slow.until_served()
    before = world.service()
    slow.hold(changes_tables)
    world.change(mode="LocalOnly")
    slow.loop.service_changed(KEY)
    await slow.until_a_plan_is_held()
    slow.delete()
    await slow.until(lambda: not slow.there)
    metadata = {"name": KEY.name, "namespace": KEY.namespace}
    created = world.cluster.put(before | {"metadata": metadata, "status": {}})
    slow.loop.service_changed(KEY)
    slow.let_go()
    await slow.until_served()
    for placement in world.placements().values():
        assert placement["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
        assert placement["spec"]["mode"] == "Auto"


async def test_a_deletion_that_is_found_with_other_changes_waits_for_none_of_their_plans(
    slow: SlowPlans, world: World
) -> None:
    """So after a restart: the snapshot of the first plan has the deletion."""
    await slow.until_served()
    slow.hold()
    body = world.service()
    at = {"deletionTimestamp": "2026-03-01T12:00:00Z"}
    world.cluster.put(body | {"metadata": body["metadata"] | at})
    slow.loop.topology_changed()
    await slow.until(lambda: not slow.there)
    assert slow.held


async def test_what_the_other_services_get_is_planned_without_the_deleted_one(
    slow: SlowPlans, world: World
) -> None:
    await slow.until_served()
    slow.hold()
    slow.loop.topology_changed()
    await slow.until_a_plan_is_held()
    slow.delete()
    await slow.until(lambda: not slow.there)
    slow.let_go()
    await slow.until_quiet()
    joint = slow.loop.plan.joint
    assert joint is not None
    assert joint.pool is not None
    assert joint.pool.services == ()
