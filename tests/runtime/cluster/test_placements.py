"""The runtime and the API server: the watch, the status, and a start without either."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from edge_runtime.cluster import Placements
from edge_runtime.connections import Resolver
from edge_runtime.errors import NotFound, Unreachable
from messages import mentions

PATH = "/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements"


class ApiServer:
    """The three requests that the runtime makes of an API server."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = None
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self.queries: list[str] = []

    def place(self, generation: int) -> dict[str, Any]:
        metadata = {"name": "digits-edge-a", "generation": generation, "resourceVersion": str(generation)}
        self.object = {"metadata": metadata, "spec": {"n": generation}}
        return self.object

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.tokens.add(dict(scope["headers"]).get(b"authorization", b"").decode())
        if scope["path"] == PATH and b"watch=1" in scope["query_string"]:
            self.queries.append(scope["query_string"].decode())
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (event := await self.events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                for half in (line[:7], line[7:]):  # events do not respect the borders of chunks
                    await send({"type": "http.response.body", "body": half, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["method"] == "PATCH":
            body = (await receive())["body"]
            self.patches.append((dict(scope["headers"])[b"content-type"].decode(), json.loads(body)))
        await send({"type": "http.response.start", "status": 200 if self.object else 404, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(self.object).encode()})


@asynccontextmanager
async def _serving(app: ApiServer) -> AsyncIterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve([sock]))
        await _until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            app.events.put_nowait(None)
            server.should_exit = True
            await task


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any condition of a test
            await asyncio.sleep(0.01)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret\n")
    return tmp_path


async def test_the_watch_delivers_the_object_and_every_change_of_it(account: Path) -> None:
    api, seen = ApiServer(), []
    first = api.place(1)
    async with _serving(api) as url:
        placements = Placements("default", "digits-edge-a", url, Resolver(), account)
        watch = asyncio.create_task(
            placements.watch(lambda found: seen.append(found["metadata"]["generation"]))
        )
        await _until(lambda: seen == [1])
        for generation in (2, 3):
            api.events.put_nowait({"type": "MODIFIED", "object": api.place(generation)})
            await _until(lambda generation=generation: seen[-1] == generation)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        placements.close()
    assert first["metadata"]["generation"] == 1
    assert seen == [1, 2, 3]
    assert "fieldSelector=metadata.name%3Ddigits-edge-a" in api.queries[0]
    assert "resourceVersion=1" in api.queries[0]
    assert api.tokens == {"Bearer secret"}


async def test_a_watch_that_ends_is_taken_up_again(account: Path) -> None:
    api, seen = ApiServer(), []
    api.place(1)
    async with _serving(api) as url:
        placements = Placements("default", "digits-edge-a", url, Resolver(), account)
        watch = asyncio.create_task(
            placements.watch(lambda found: seen.append(found["metadata"]["generation"]))
        )
        await _until(lambda: seen == [1])
        api.place(2)
        api.events.put_nowait(None)
        await _until(lambda: seen == [1, 2])
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        placements.close()


async def test_the_status_is_merge_patched_and_the_response_carries_the_spec(account: Path) -> None:
    api = ApiServer()
    api.place(4)
    async with _serving(api) as url:
        placements = Placements("default", "digits-edge-a", url, Resolver(), account)
        found = await placements.write_status({"loaded": True})
        placements.close()
    assert api.patches == [("application/merge-patch+json", {"status": {"loaded": True}})]
    assert found["metadata"]["generation"] == 4


async def test_a_placement_that_is_not_there_and_a_server_that_is_away_are_distinguished(
    account: Path,
) -> None:
    async with _serving(ApiServer()) as url:
        placements = Placements("default", "digits-edge-a", url, Resolver(), account)
        with pytest.raises(NotFound, match=mentions("Placement digits-edge-a")):
            await placements.write_status({})
        placements.close()
    with pytest.raises(Unreachable, match=f"API server {url}: "):
        await placements.write_status({})


def test_outside_a_cluster_it_says_what_to_do() -> None:
    with pytest.raises(Unreachable, match=mentions("KUBERNETES_SERVICE_HOST", "placement")):
        Placements.in_cluster("default", "x", Resolver(), {})
