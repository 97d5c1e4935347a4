"""The loop of a pool collects changes, and what is slow holds up only what needs it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_api.model_sources import ModelSource
from edge_api.tensors import Slice
from edge_operator.clients import Clock
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.effects import executor
from edge_operator.effects.executor import Executor
from edge_operator.errors import StoreError
from edge_operator.keys import ServiceKey
from edge_operator.loops.pools import PoolLoop
from edge_operator.pool import plans
from edge_operator.pool.drafts import Now
from edge_operator.pool.plans import PoolPlan
from edge_operator.pool.states import PoolState
from edge_operator.store_answers import ModelCard
from operator_objects import KEY, node_body

World = Any  # tests/operator/conftest.py
OTHER = ServiceKey("default", "letters")


class Running:
    """A pool's loop with the executor of the operator."""

    def __init__(self, world: World) -> None:
        self.world, self.plans = world, 0
        now = asyncio.get_running_loop().time
        self.executor = Executor(now)
        shared = replace(world.shared(), executor=self.executor, clock=Clock(monotonic=now))
        self.loop = PoolLoop("factory", shared)
        self.task = asyncio.create_task(self.loop.run(self._planned))

    async def _planned(self, state: PoolState, previous: PoolPlan, now: Now) -> PoolPlan:
        self.plans += 1
        return await asyncio.to_thread(plans.plan, state, previous, now)

    def placed(self, service: ServiceKey) -> bool:
        bodies = self.world.cluster.find(PLACEMENTS, service.namespace)
        return any(body["spec"]["service"] == service.name for body in bodies)

    def reason(self, service: ServiceKey, condition: str) -> str:
        body = self.world.cluster.get(INFERENCE_SERVICES, *service)
        found = {c["type"]: c["reason"] for c in (body.get("status") or {}).get("conditions", [])}
        return str(found.get(condition, ""))

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not met():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.01)


@pytest.fixture
async def running(world: World) -> AsyncIterator[Running]:
    found = Running(world)
    yield found
    found.task.cancel()
    await asyncio.gather(found.task, return_exceptions=True)
    await found.executor.stop()
    await asyncio.to_thread(found.executor.wait_for_writes)


async def test_a_service_is_served_and_then_the_loop_sleeps(running: Running) -> None:
    await running.until(lambda: running.reason(KEY, "Placed") == "Published")
    await running.until(lambda: running.executor.idle and not running.loop.due)
    assert running.loop.plan.again_at == float("inf")


async def test_changes_that_come_together_are_planned_together(running: Running) -> None:
    await running.until(lambda: running.reason(KEY, "Placed") == "Published")
    await running.until(lambda: running.executor.idle and not running.loop.due)
    before = running.plans
    for _ in range(100):
        running.loop.service_changed(KEY)
    await running.until(lambda: not running.loop.due)
    await running.until(lambda: running.plans > before)
    assert running.plans == before + 1


async def test_a_slow_download_holds_up_its_service_alone_which_says_what_it_waits_for(
    world: World, running: Running
) -> None:
    held, register = threading.Event(), world.store.register

    def slow(source: ModelSource) -> ModelCard:
        if "slow" in source.storage_uri:
            assert held.wait(30)
        return register(source)  # type: ignore[no-any-return]

    world.store.register = slow
    body = world.service()
    spec = body["spec"] | {"model": {"storageUri": "https://slow.test/letters.onnx"}}
    meta = {"name": OTHER.name, "namespace": OTHER.namespace}
    world.cluster.put(body | {"metadata": meta, "spec": spec, "status": {}})
    running.loop.topology_changed()
    try:
        await running.until(lambda: running.placed(KEY))
        await running.until(lambda: running.reason(OTHER, "ModelReady") == "Fetching")
        assert not running.placed(OTHER)
    finally:
        held.set()
    await running.until(lambda: running.placed(OTHER))


async def test_an_event_while_a_plan_is_made_is_planned_next(running: Running, world: World) -> None:
    await running.until(lambda: running.reason(KEY, "Placed") == "Published")
    await running.until(lambda: running.executor.idle and not running.loop.due)
    state = running.loop.take()
    world.change(mode="LocalOnly")
    running.loop.service_changed(KEY)
    running.loop.act(plans.plan(state, running.loop.plan, running.loop.now()))
    await running.until(lambda: all(p["spec"]["mode"] == "LocalOnly" for p in world.placements().values()))


async def test_slices_are_requested_again_at_once_when_their_model_is_registered_again(
    running: Running, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(mode="LocalOnly")
    await running.until(lambda: running.reason(KEY, "Placed") == "Published")
    await running.until(lambda: running.executor.idle and not running.loop.due)
    for bound in ("FIRST_RETRY", "LAST_RETRY"):
        monkeypatch.setattr(executor, bound, 3600.0)
    registered, register, cut = threading.Event(), world.store.register, world.store.slice

    def registers(source: ModelSource) -> ModelCard:
        registered.set()
        return register(source)  # type: ignore[no-any-return]

    def loses(*key: Any) -> Slice:
        if not registered.is_set():
            raise StoreError("NotFound", "no such model")
        return cut(*key)  # type: ignore[no-any-return]

    world.store.register, world.store.slice = registers, loses
    world.change(mode="Auto")
    running.loop.service_changed(KEY)
    await running.until(lambda: all(p["spec"]["mode"] == "Auto" for p in world.placements().values()))
    assert registered.is_set()


async def test_a_new_service_is_planned_with_labels_that_no_service_selected_before(
    running: Running, world: World
) -> None:
    await running.until(lambda: running.reason(KEY, "Placed") == "Published")
    await running.until(lambda: running.executor.idle and not running.loop.due)
    node = node_body("cam-2", "camera")
    node["metadata"]["labels"]["line"] = "3"
    world.cluster.put(node)  # it concerns no pool: nothing wakes the loop
    body = world.service()
    spec = body["spec"] | {"entryNodes": {"nodeSelector": {"line": "3"}}}
    world.cluster.put(
        body | {"metadata": {"name": OTHER.name, "namespace": OTHER.namespace}, "spec": spec, "status": {}}
    )
    running.loop.service_changed(OTHER, mended=True)
    await running.until(lambda: running.reason(OTHER, "Placed") == "Published")
    bodies = world.cluster.find(PLACEMENTS, OTHER.namespace)
    assert [b["spec"]["node"] for b in bodies if b["spec"]["service"] == OTHER.name] == ["cam-2"]
