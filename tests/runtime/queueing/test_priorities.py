"""The priority of a request decides its turn among those of its service, and runs report what they took."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import stackable
from edge_planning.routing.batches import Experience
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.service_queues import ServiceQueue
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.metrics import Metrics
from edge_runtime.model_statistics import Execution
from edge_runtime.requests import InferenceRequest
from edge_runtime.standalone import StandaloneModel
from edge_runtime.tensors import Array


class Gated(Session):
    """A session whose runs wait until they are released, and which records the rows of each run."""

    def __init__(self) -> None:
        super().__init__(stackable.dense())
        self.gate = threading.Event()
        self.rows: list[int] = []
        self.seconds = 1.0  # too long for the event loop

    def run(self, feeds: Any, names: Any = None, halt: Halt | None = None) -> list[Array]:
        self.rows.append(len(feeds["x"]))
        assert self.gate.wait(20)
        return super().run(feeds, names, halt)


def item(rows: int = 1) -> dict[str, Array]:
    return {"x": np.ones((rows, stackable.WIDTH), np.float32)}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)


async def test_a_service_runs_its_requests_by_priority_and_others_keep_their_turns() -> None:
    session, runner = Gated(), Runner(largest=1)
    one, other = ServiceQueue(runner), ServiceQueue(runner)
    tasks = [asyncio.create_task(one.run(session, item(1)))]
    await until(lambda: session.rows == [1])
    for queue, rows, priority in ((one, 2, 10), (one, 3, 5), (other, 4, 10), (one, 5, 1)):
        tasks.append(asyncio.create_task(queue.run(session, item(rows), priority=priority)))
        await until(lambda: runner.queued == len(tasks) - 1)
    session.gate.set()
    await asyncio.gather(*tasks)
    assert session.rows == [1, 4, 5, 3, 2]
    runner.close()


@pytest.mark.parametrize(("priority", "handed_on"), [(None, 5), (1, 1), (10, 10)])
async def test_serve_hands_the_priority_of_a_request_on(
    monkeypatch: pytest.MonkeyPatch, priority: int | None, handed_on: int
) -> None:
    given: list[int] = []

    async def run(
        self: Runner, session: Session, feeds: Any, names: Any, *_: Any, **more: Any
    ) -> list[Array]:
        given.append(more["precedence"].priority)
        return session.run(feeds, names)

    monkeypatch.setattr(Runner, "run", run)
    model = StandaloneModel(Session(stackable.dense()), Metrics("m"))
    request = InferenceRequest(item(), ["y"])
    await model.infer(request if priority is None else replace(request, priority=priority))
    model.close()
    assert given == [handed_on]


async def test_each_service_in_a_run_learns_its_rows_and_its_own_waits() -> None:
    session, runner = Gated(), Runner()
    known = runner.known[session] = Experience(proven=True)
    for rows in (1, 2, 4, 8):
        known.add(rows, 1.0)
    runs: dict[str, list[Execution]] = {"one": [], "other": []}
    one, other = (ServiceQueue(runner, ran=found.append) for found in runs.values())
    tasks = [asyncio.create_task(one.run(session, item()))]
    await until(lambda: session.rows == [1])
    tasks += [asyncio.create_task(queue.run(session, item(2))) for queue in (one, one, other)]
    await until(lambda: runner.queued == 3)
    session.gate.set()
    await asyncio.gather(*tasks)
    (alone, joint), (seen,) = runs["one"], runs["other"]
    assert (alone.rows, len(alone.waits), alone.stacking, alone.splitting) == (1, 1, 0.0, 0.0)
    assert (joint.rows, len(joint.waits), seen.rows, len(seen.waits)) == (6, 2, 6, 1)
    assert joint.inferring == seen.inferring > 0
    assert min(*joint.waits, *seen.waits, joint.stacking, joint.splitting) > 0
    runner.close()


async def test_a_short_run_on_the_event_loop_is_reported_without_a_wait() -> None:
    found: list[Execution] = []
    session, runner = Session(stackable.dense()), Runner()
    session.warm(item(3), None)
    session.seconds = 1e-5
    queue = ServiceQueue(runner, ran=found.append)
    while queue.run_now(session, item(3)) is None:  # on a busy machine, the warm-up can seem long
        session.warm(item(3), None)
        session.seconds = 1e-5
    (run,) = found
    assert (run.rows, list(run.waits)) == (3, [0.0])
    assert run.inferring > 0
    runner.close()
