"""Overload is refused at once: what is admitted is answered in time, of every service of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_planning.routing.batches import Experience
from edge_planning.routing.deadlines import queue_too_long
from edge_runtime.errors import CannotAnswer, Overloaded
from edge_runtime.inference.sessions import Halt, Session
from edge_runtime.node_services import NodeServices
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from messages import mentions
from placed import SmallStore, adding, eventually, node, placed_service, placement

NAMES = ("first", "second", "third")
NOW = 1000.0


class Held:
    """Holds all runs, each of which is known to take 50 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.begun, whole = threading.Event(), threading.Event(), Session.run

        def run(session: Session, feeds: Any, names: Any = None, halt: Halt | None = None) -> Any:
            self.begun.set()
            assert self.gate.wait(30)
            return whole(session, feeds, names, halt)

        def took(session: Session, shapes: Any, seconds: float) -> None:
            session.seconds = 0.05

        monkeypatch.setattr(Session, "run", run)
        monkeypatch.setattr(Session, "took", took)


Loaded = Callable[[str], AbstractAsyncContextManager[tuple[NodeServices, Held]]]


@pytest.fixture
def store() -> SmallStore:
    """It has the model of each service."""
    return SmallStore(*(adding(number) for number in range(len(NAMES))))


@pytest.fixture
def loaded(tmp_path: Path, store: SmallStore, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """A node where three services have loaded tables for an SLO, and then all runs are held."""

    @asynccontextmanager
    async def services_at_a_node(latency: str) -> AsyncIterator[tuple[NodeServices, Held]]:
        slo = {"latency": latency}
        async with node(tmp_path, store, clock=lambda: NOW) as services:
            services.replace([placement(n, d, slo=slo) for n, d in zip(NAMES, store.digests, strict=True)])
            await eventually(lambda: len(services.models.index(only_ready=True)) == len(NAMES))
            for placed in services.placed:
                assert placed.generations.table is not None
                for session in placed.generations.table.sessions.values():
                    session.seconds = 0.05
            yield services, Held(monkeypatch)

    return services_at_a_node


def _ask(services: NodeServices, name: str, rows: int = 1) -> asyncio.Task[InferenceResponse]:
    request = InferenceRequest({"x": np.zeros((rows, 4), np.float32)}, ["y"])

    async def ask() -> InferenceResponse:
        return await services.models.ask(name, request)

    return asyncio.create_task(ask())


async def test_three_services_at_a_loaded_node_refuse_at_once_what_they_cannot_answer_in_time(
    loaded: Loaded,
) -> None:
    async with loaded("170ms") as (services, held):
        tasks = [_ask(services, NAMES[0])]
        await eventually(held.begun.is_set)
        tasks += [_ask(services, name) for _ in range(20) for name in NAMES]
        await eventually(lambda: sum(not task.done() for task in tasks) <= 3)
        refused = [task.exception() for task in tasks if task.done()]
        assert len(refused) == 58  # 3 x 50 ms fit into the SLO
        assert all(isinstance(error, Overloaded) for error in refused)
        assert mentions("150 ms", "50 ms", "156 ms", "retry in 1 s").search(str(refused[0]))
        held.gate.set()
        done = await asyncio.gather(*(task for task in tasks if not task.done()))
        assert all(response.parameters["deadline_met"] for response in done)
        summaries = [placed.dataplane.window.summary(NOW) for placed in services.placed]
    assert sum(summary.requests for summary in summaries) == len(tasks)  # a refusal is a request, too
    assert sum(summary.met for summary in summaries) == 3


async def test_a_service_with_more_time_is_admitted_behind_one_with_less(
    loaded: Loaded, store: SmallStore
) -> None:
    async with loaded("170ms") as (services, held):
        services.change(placement("third", store.digests[2], slo={"latency": "10s"}, generation=2))
        third = placed_service(services, "third")
        await eventually(lambda: third.generations.generation == 2)
        tasks = [_ask(services, "first")]
        await eventually(held.begun.is_set)
        tasks += [_ask(services, "third") for _ in range(20)]
        await eventually(lambda: third.generations.queue.waiting == 20)
        tasks.append(_ask(services, "second"))  # 20 others wait, all with a later deadline
        second = placed_service(services, "second")
        await eventually(lambda: second.generations.queue.waiting == 1)
        held.gate.set()
        assert len(await asyncio.gather(*tasks)) == 22


async def test_a_small_request_is_admitted_by_its_own_time_and_not_by_that_of_large_ones(
    loaded: Loaded,
) -> None:
    async with loaded("100ms") as (services, held):
        second = placed_service(services, "second")
        assert second.generations.table is not None
        (session,) = second.generations.table.sessions.values()
        known = second.generations.resources.runner.known[session] = Experience(0.01, proven=False)
        known.add(32, 0.05)  # most of its requests have 32 rows, so its mean time is 50 ms
        first = _ask(services, "first")
        await eventually(held.begun.is_set)
        small = _ask(services, "second")  # 50 ms behind the first, then 10 ms
        await eventually(lambda: second.generations.queue.waiting == 1)
        with pytest.raises(Overloaded, match=mentions("50 ms")):
            await _ask(services, "second", rows=32)
        held.gate.set()
        assert len(await asyncio.gather(first, small)) == 2


async def test_a_service_that_is_slower_than_its_slo_is_still_answered_one_at_a_time(
    loaded: Loaded,
) -> None:
    async with loaded("40ms") as (services, held):
        first = _ask(services, "first")
        await eventually(held.begun.is_set)
        with pytest.raises(CannotAnswer):
            await _ask(services, "first")
        held.gate.set()
        assert (await first).parameters["exit"] == "final"


@pytest.mark.parametrize(
    ("wait", "fastest", "deadline", "refused"),
    [
        (0.0, 0.05, 0.16, False),
        (0.1, 0.05, 0.16, False),
        (0.111, 0.05, 0.16, True),
        (0.0, 0.5, 0.15, False),
        (0.15, 0.5, 0.15, False),
        (0.16, 0.5, 0.15, True),
        (0.0, 1.0, -0.001, False),
        (0.01, 1.0, -0.001, True),
    ],
)
def test_a_request_is_refused_if_the_wait_makes_its_fastest_route_late(
    wait: float, fastest: float, deadline: float, refused: bool
) -> None:
    assert queue_too_long(wait, fastest, deadline) is refused
