"""A placed service responds to short inferences over HTTP as `serve` does: while their request is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from edge_planning.links.estimates import LinkView
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Session, shapes_of
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.requests import MOST_WAITING
from edge_runtime.rest.app import RestApp
from edge_runtime.routing.loaded_tables import BranchedRoute
from placed import NOWHERE, SmallStore, adding, eventually, node, placed_service, placement, through

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.asgi import Header, Response
    from edge_runtime.node_services import NodeServices
    from edge_runtime.placed_services import PlacedService
    from edge_runtime.routing.generations import Generations
    from edge_runtime.routing.loaded_tables import LoadedTable

PATH = "/v2/models/a/infer"
TOOK = Session.took


def request(value: float = 0.0, **parameters: object) -> tuple[bytes, list[Header]]:
    data = np.full((1, 4), value, np.float32).tobytes()
    x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [x], "parameters": parameters}).encode()
    body = head + data
    length = b"%d" % len(head)
    return body, [(b"inference-header-content-length", length), (b"content-length", b"%d" % len(body))]


class Served:
    """Service a, whose inferences count as short whatever this machine's speed, behind its HTTP endpoints."""

    def __init__(self, services: NodeServices, digests: list[str]) -> None:
        self.services, self.digests = services, digests
        self.app = RestApp(services.models, lambda: b"")
        self.now = 0.0

    @property
    def placed(self) -> PlacedService:
        return placed_service(self.services, "a")

    @property
    def generations(self) -> Generations:
        return self.placed.generations

    @property
    def table(self) -> LoadedTable:
        found = self.generations.table
        assert found is not None
        return found

    async def use(self, document: dict[str, Any]) -> None:
        """Loads a table, and has one request awaited: the first on a table always is."""
        self.services.replace([document])
        generation = document["metadata"]["generation"]
        await eventually(lambda: self.generations.loaded and self.generations.generation == generation)
        for session in self.table.sessions.values():
            session.seconds = 1e-6
            TOOK(session, shapes_of({"x": np.zeros((1, 4), np.float32)}), 1e-6)
        assert (await self.awaited(*request())).status_code == 200

    async def awaited(self, body: bytes, headers: list[Header]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://m") as client:
            return await client.post(PATH, content=body, headers=[*headers])

    def at_once(self, body: bytes, headers: list[Header]) -> Response | None:
        respond = self.app.at_once("POST", PATH, headers)
        return None if respond is None else respond(body)

    def counted(self) -> int:
        return self.placed.report().summary.requests


@pytest_asyncio.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(Session, "took", lambda session, shapes, seconds: None)
    store = SmallStore(adding(1), adding(2))
    async with node(tmp_path, store, clock=lambda: found.now) as services:
        found = Served(services, store.digests)
        await found.use(placement("a", store.digests[0]))
        yield found


def outputs(response: Response | None) -> list[float]:
    assert response is not None
    found: list[float] = json.loads(bytes(response.parts[0]))["outputs"][0]["data"]
    return found


async def test_a_repeated_request_gets_the_same_response_and_is_counted_like_any_other(
    served: Served,
) -> None:
    awaited = await served.awaited(*request(1))
    prompt = served.at_once(*request(1))
    assert prompt is not None
    assert (prompt.status, b"".join(prompt.parts)) == (awaited.status_code, awaited.content)
    assert awaited.json()["parameters"]["route"] == "final@local"
    assert served.counted() == 3
    assert 'met="true",namespace="",service="a"} 3.0' in served.placed.metrics.exposition().decode()
    assert served.generations.queue.waiting == 0


async def test_values_are_those_of_the_request_itself(served: Served) -> None:
    assert outputs(served.at_once(*request(5))) == [6.0] * 4


async def test_the_next_table_serves_requests_on_open_connections(served: Served) -> None:
    respond = served.app.at_once("POST", PATH, request()[1])
    assert respond is not None
    await served.use(placement("a", served.digests[1], generation=2))
    assert outputs(respond(request(1)[0])) == [3.0] * 4


async def test_a_request_for_a_service_that_has_left_is_awaited_and_so_can_be_forwarded(
    served: Served,
) -> None:
    respond = served.app.at_once("POST", PATH, request()[1])
    served.services.replace([])
    assert respond is not None
    assert respond(request()[0]) is None


async def test_a_request_with_a_timeout_is_awaited(served: Served) -> None:
    await served.awaited(*request(timeout=1_000_000))
    assert served.at_once(*request(timeout=1_000_000)) is None


async def test_a_request_is_awaited_while_others_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "wait", 0.1)
    assert served.at_once(*request()) is None
    assert served.counted() == 1


async def test_an_inference_that_is_not_short_any_more_is_awaited(served: Served) -> None:
    for session in served.table.sessions.values():
        session.seconds = 1.0
    assert served.at_once(*request()) is None
    assert served.counted() == 1


async def test_a_service_with_too_many_requests_refuses_the_next_and_counts_that(served: Served) -> None:
    served.generations.queue.waiting = MOST_WAITING
    refused = served.at_once(*request())
    assert refused is not None
    assert refused.status == 429
    assert (served.counted(), served.generations.queue.waiting) == (2, MOST_WAITING)


async def test_a_route_with_early_exits_is_awaited_because_it_takes_several_runs(served: Served) -> None:
    early: dict[str, Any] = {"earlyExit": {"mode": "Confidence", "threshold": 0.8}}
    await served.use(placement("a", served.digests[0], generation=2, **early))
    assert served.at_once(*request()) is not None  # nothing branches off yet
    (loaded,) = served.table.routes
    served.table.branched_routes["final@local"] = BranchedRoute((), loaded)
    assert served.at_once(*request()) is None


async def test_only_while_no_hop_can_be_used_or_tested_is_the_local_route_prompt(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.use(through(placement("a", served.digests[0], generation=2), NOWHERE))
    (hop, _), breakers = served.table.hops, served.generations.resources.breakers
    assert hop is not None
    breakers.recovered(hop.peer)
    monkeypatch.setattr(LinkMonitor, "view", lambda _: LinkView(up=True, bandwidth=1e9))
    assert served.placed.report().route == "final@x"
    assert served.at_once(*request()) is None
    monkeypatch.setattr(LinkMonitor, "view", lambda _: LinkView(up=False, bandwidth=None))
    assert served.placed.report().route == "final@local"
    assert outputs(served.at_once(*request(1))) == [2.0] * 4
    monkeypatch.setattr(LinkMonitor, "view", lambda _: LinkView(up=True, bandwidth=1e3, backlog=8e3))
    assert served.placed.report().route == "final@local"
    assert served.at_once(*request()) is None
    monkeypatch.setattr(LinkMonitor, "view", lambda _: LinkView(up=True, bandwidth=1e3))
    for _ in range(10):
        breakers.ended(hop, "failed", trial=False, fair=True)
    assert breakers.testable(served.table.hops) == set()
    assert served.at_once(*request()) is not None
    served.now = 1000.0
    assert breakers.testable(served.table.hops) == {0}
    assert served.at_once(*request()) is None
