"""Sessions that are let go without requests, and loaded again by the next one."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import NotReady, Overloaded
from edge_runtime.inference.sessions import Session
from edge_runtime.node_services import NodeServices
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.routing.hops import Hop
from messages import mentions
from placed import NOWHERE, Document, SmallStore, adding, eventually, node, placed_service, placement, through

AFTER = 60.0


class Clock:
    """Advances only by the tests."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A node with a clock of its own."""

    def __init__(self, services: NodeServices, clock: Clock) -> None:
        self.services, self.clock = services, clock

    def pass_idle_time(self, *names: str) -> None:
        """Passes the time without requests, and has services look for some."""
        self.clock.now += AFTER
        for name in names:
            placed_service(self.services, name).look_for_requests()

    async def ask(self, service: str, within: float | None = None) -> InferenceResponse:
        request = InferenceRequest({"x": np.zeros((1, 4), np.float32)}, ["y"], within=within)
        return await self.services.models.ask(service, request)

    async def sum_of(self, service: str) -> float:
        return float((await self.ask(service)).outputs[0][0, 0])


@asynccontextmanager
async def site(folder: Path, store: SmallStore, *documents: Document) -> AsyncIterator[Site]:
    clock = Clock()
    async with node(folder, store, clock=clock) as services:
        services.replace(documents)
        names = {document["spec"]["service"] for document in documents}
        await eventually(lambda: {e["name"] for e in services.models.index(only_ready=True)} == names)
        await eventually(lambda: all(p.report().loaded and not p._loading for p in services.placed))  # noqa: SLF001
        yield Site(services, clock)


def idling(service: str, digest: str, memory: str = "0", **spec: Any) -> Document:
    return placement(service, digest, idle={"after": "60s", "memory": memory}, **spec)


def _sessions(at: Site, service: str) -> list[weakref.ref[Session]]:
    table = placed_service(at.services, service).generations.table
    return [] if table is None else [weakref.ref(session) for session in table.sessions.values()]


async def test_sessions_are_freed_after_the_time_without_requests_and_the_next_request_is_answered(
    tmp_path: Path,
) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        placed = placed_service(at.services, "a")
        assert await at.sum_of("a") == 3.0
        sessions = _sessions(at, "a")
        at.clock.now += AFTER - 1
        assert placed.look_for_requests() == 1.0
        assert placed.report().idle is False
        at.clock.now += 1
        placed.look_for_requests()
        assert placed.report().idle is True
        await eventually(lambda: gc.collect() >= 0 and all(ref() is None for ref in sessions))
        store.away = True
        assert await at.sum_of("a") == 3.0
        assert placed.report().idle is False
        assert placed.report().load_time == 0.0  # by the clock of the test


async def test_an_idle_service_stays_ready_and_reports_the_route_that_was_active(tmp_path: Path) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        before = at.services.models.metadata("a")
        at.pass_idle_time("a")
        placed = placed_service(at.services, "a")
        assert at.services.models.model_ready("a")
        assert at.services.models.metadata("a") == before
        report = placed.report()
        assert (report.generation, report.loaded, report.message) == (1, True, "")
        assert (report.route, report.exit, report.cut) == ("final@local", "final", "local")
        exposed = placed.metrics.exposition().decode()
        assert 'edge_idle{service="a"} 1.0' in exposed
        assert 'edge_sessions_bytes{service="a"} 0.0' in exposed


async def test_a_service_without_a_time_keeps_its_sessions(tmp_path: Path) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, placement("a", store.digests[0])) as at:
        at.clock.now += 1e9
        placed_service(at.services, "a").look_for_requests()
        assert _sessions(at, "a")


async def test_requests_that_arrive_while_a_session_is_loaded_share_the_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        at.pass_idle_time("a")
        gate, opened, make = threading.Event(), [0], Session.__init__

        def held(session: Session, *arguments: Any, **named: Any) -> None:
            opened[0] += 1
            assert gate.wait(30)
            make(session, *arguments, **named)

        monkeypatch.setattr(Session, "__init__", held)
        tasks = [asyncio.create_task(at.sum_of("a")) for _ in range(8)]
        left = asyncio.create_task(at.sum_of("a"))
        await eventually(lambda: opened[0] == 1)
        left.cancel()  # a client that leaves does not end the load of the others
        gate.set()
        assert await asyncio.gather(*tasks) == [3.0] * 8
        assert opened == [1]
        counted = 'edge_first_request_load_seconds_count{service="a"} 1.0'
        assert counted in placed_service(at.services, "a").metrics.exposition().decode()


async def test_a_service_with_a_request_in_flight_is_not_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        placed = placed_service(at.services, "a")
        gate, begun, run = asyncio.Event(), asyncio.Event(), placed.generations.queue.run
        monkeypatch.setattr(placed.dataplane, "at_once", lambda request: None)

        async def held(*arguments: Any, **named: Any) -> Any:
            begun.set()
            await gate.wait()
            return await run(*arguments, **named)

        monkeypatch.setattr(placed.generations.queue, "run", held)
        asked = asyncio.create_task(at.sum_of("a"))
        await eventually(begun.is_set)
        at.pass_idle_time("a")
        assert _sessions(at, "a")
        gate.set()
        assert await asked == 3.0
        placed_service(at.services, "a").look_for_requests()
        assert _sessions(at, "a")  # the time without requests counts from the response
        at.pass_idle_time("a")
        assert not _sessions(at, "a")


async def test_a_first_request_with_a_timeout_that_the_load_exceeds_is_refused_with_when_to_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        placed = placed_service(at.services, "a")
        monkeypatch.setattr(placed.generations._loader, "took", lambda session: 2.5)  # noqa: SLF001
        at.pass_idle_time("a")
        with pytest.raises(
            Overloaded, match=mentions("takes 2500 ms", "has 500 ms", "retry in 3 s")
        ) as raised:
            await at.ask("a", within=0.5)
        assert raised.value.retry_after == 3
        await eventually(lambda: placed.generations.table is not None)  # it is loaded for the next one
        assert await at.sum_of("a") == 3.0


async def test_a_first_request_without_a_timeout_is_answered_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SmallStore(adding(3))
    document = idling("a", store.digests[0], slo={"latency": "100ms"})
    async with site(tmp_path, store, document) as at:
        at.pass_idle_time("a")
        make = Session.__init__

        def slow(session: Session, *arguments: Any, **named: Any) -> None:
            at.clock.now += 4.0
            make(session, *arguments, **named)

        monkeypatch.setattr(Session, "__init__", slow)
        response = await at.ask("a")
        assert float(response.outputs[0][0, 0]) == 3.0
        assert response.parameters["deadline_met"] is False
        placed = placed_service(at.services, "a")
        assert (placed.dataplane.window.requests, placed.dataplane.window.met) == (1, 0)
        assert placed.report().load_time == 4.0


async def test_a_request_to_a_service_whose_slice_is_gone_fails_and_the_slice_is_fetched_again(
    tmp_path: Path,
) -> None:
    store = SmallStore(adding(3))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        placed = placed_service(at.services, "a")
        at.pass_idle_time("a")
        store.away = True
        for path in (tmp_path / "slices").iterdir():
            path.unlink()
        with pytest.raises(NotReady, match="it is away"):
            await at.ask("a")
        assert placed.report().loaded is False
        assert "it is away" in placed.report().message
        store.away = False
        placed.look_for_requests()
        await eventually(lambda: placed.report().loaded and placed.generations.table is not None)
        assert await at.sum_of("a") == 3.0


async def test_idle_services_stay_loaded_as_far_as_they_fit_into_the_memory_for_them(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    size = len(adding(1))
    documents = [idling(name, digest, str(size)) for name, digest in zip("ab", store.digests, strict=True)]
    async with site(tmp_path, store, *documents) as at:
        assert await at.sum_of("a") == 1.0
        at.clock.now += 1
        assert await at.sum_of("b") == 2.0
        at.pass_idle_time("b")
        assert _sessions(at, "b")
        placed_service(at.services, "a").look_for_requests()
        assert (len(_sessions(at, "a")), len(_sessions(at, "b"))) == (0, 1)  # a had none for longer


async def test_a_new_table_is_loaded_although_the_service_is_idle(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    async with site(tmp_path, store, idling("a", store.digests[0])) as at:
        at.pass_idle_time("a")
        placed = placed_service(at.services, "a")
        at.services.change(idling("a", store.digests[1], generation=2))
        await eventually(lambda: placed.report().generation == 2 and placed.report().loaded)
        assert placed.report().idle is False
        assert await at.sum_of("a") == 2.0


async def test_routes_through_a_hop_follow_once_the_model_behind_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.routing.idle_tables._ASK_AGAIN", 0.01)
    ready = asyncio.Event()

    async def healthy(hop: Hop, within: float) -> bool:
        return ready.is_set()

    monkeypatch.setattr(Hop, "healthy", healthy)
    monkeypatch.setattr(Hop, "reachable", True)
    store = SmallStore(adding(3))
    async with site(tmp_path, store, through(idling("a", store.digests[0]), NOWHERE)) as at:
        generations = placed_service(at.services, "a").generations
        at.pass_idle_time("a")
        assert await at.sum_of("a") == 3.0
        assert generations.table is not None
        assert [each.route.name for each in generations.table.routes] == ["final@local"]
        assert placed_service(at.services, "a").report().loaded
        ready.set()
        names: Callable[[], list[str]] = lambda: [  # noqa: E731
            each.route.name for each in (generations.table.routes if generations.table else ())
        ]
        await eventually(lambda: names() == ["final@x", "final@local"])
