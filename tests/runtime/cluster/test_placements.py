"""The runtime and the API server: the watch, the status, and a start without either."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from edge_api.names import dedicated_service_name, runtime_service_name
from edge_runtime.cluster import Placements, placed_at
from edge_runtime.connections import Resolver
from edge_runtime.errors import NotFound, Unreachable
from messages import mentions
from placed import eventually

PATH = "/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements"


class ApiServer:
    """The requests that the runtime makes of an API server."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.patches: list[tuple[str, str, dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self.lists: list[tuple[str, str]] = []
        self.watches: list[str] = []

    def place(self, name: str, generation: int) -> dict[str, Any]:
        metadata = {"name": name, "generation": generation, "resourceVersion": str(generation)}
        self.objects[name] = {"metadata": metadata, "spec": {"n": generation}}
        return self.objects[name]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers, query = dict(scope["headers"]), scope["query_string"].decode()
        self.tokens.add(headers.get(b"authorization", b"").decode())
        if scope["path"] == PATH and "watch=1" in query:
            self.watches.append(query)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (event := await self.events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                for half in (line[:7], line[7:]):  # events do not respect the borders of chunks
                    await send({"type": "http.response.body", "body": half, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        found: dict[str, Any] | None
        if scope["path"] == PATH:
            self.lists.append((query, headers[b"accept"].decode()))
            found = {"metadata": {"resourceVersion": "7"}, "items": list(self.objects.values())}
        else:
            name = scope["path"].removeprefix(f"{PATH}/").removesuffix("/status")
            found = self.objects.get(name)
            body = (await receive())["body"]
            self.patches.append((name, headers[b"content-type"].decode(), json.loads(body)))
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(found).encode()})


class Seen:
    """What a watch delivers: the generation of each Placement by name."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.replaced = 0

    def replace(self, documents: Iterable[Any]) -> None:
        self.replaced += 1
        self.now = {d["metadata"]["name"]: d["metadata"]["generation"] for d in documents}

    def change(self, document: Any) -> None:
        self.now[document["metadata"]["name"]] = document["metadata"]["generation"]

    def remove(self, document: Any) -> None:
        del self.now[document["metadata"]["name"]]


@asynccontextmanager
async def _serving(app: ApiServer) -> AsyncIterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve([sock]))
        await eventually(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            app.events.put_nowait(None)
            server.should_exit = True
            await task


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret\n")
    return tmp_path


@asynccontextmanager
async def _watching(api: ApiServer, account: Path) -> AsyncIterator[tuple[Placements, Seen]]:
    async with _serving(api) as url:
        placements, seen = Placements("default", placed_at("edge-a"), url, Resolver(), account), Seen()
        watch = asyncio.create_task(placements.watch(seen))
        try:
            yield placements, seen
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            placements.close()


async def test_the_watch_delivers_all_objects_at_this_node_and_every_change(account: Path) -> None:
    api = ApiServer()
    api.place("digits.edge-a", 1)
    async with _watching(api, account) as (_, seen):
        await eventually(lambda: seen.now == {"digits.edge-a": 1})
        api.events.put_nowait({"type": "ADDED", "object": api.place("faces.edge-a", 2)})
        await eventually(lambda: seen.now == {"digits.edge-a": 1, "faces.edge-a": 2})
        api.events.put_nowait({"type": "MODIFIED", "object": api.place("faces.edge-a", 3)})
        await eventually(lambda: seen.now["faces.edge-a"] == 3)
        api.events.put_nowait({"type": "DELETED", "object": api.place("digits.edge-a", 4)})
        await eventually(lambda: seen.now == {"faces.edge-a": 3})
    assert api.lists == [("labelSelector=edge-intelligence.io%2Fnode%3Dedge-a", "application/json")]
    assert "labelSelector=edge-intelligence.io%2Fnode%3Dedge-a" in api.watches[0]
    assert "resourceVersion=7" in api.watches[0]
    assert api.tokens == {"Bearer secret"}


async def test_a_watch_that_ends_continues_where_it_ended_without_another_list(account: Path) -> None:
    api = ApiServer()
    async with _watching(api, account) as (_, seen):
        await eventually(lambda: len(api.watches) == 1)
        bookmark = {"metadata": {"resourceVersion": "9"}}
        api.events.put_nowait({"type": "BOOKMARK", "object": bookmark})
        api.events.put_nowait(None)
        await eventually(lambda: len(api.watches) == 2)
    assert "resourceVersion=9" in api.watches[1]
    assert "allowWatchBookmarks=true" in api.watches[0]
    assert seen.replaced == len(api.lists) == 1


async def test_a_version_that_is_too_old_lists_again(account: Path) -> None:
    api = ApiServer()
    api.place("digits.edge-a", 1)
    async with _watching(api, account) as (_, seen):
        await eventually(lambda: len(api.watches) == 1)
        api.place("digits.edge-a", 2)
        api.events.put_nowait({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}})
        api.events.put_nowait(None)
        await eventually(lambda: seen.now == {"digits.edge-a": 2})
    assert len(api.lists) == 2


async def test_an_open_watch_is_contact_to_the_api_server(account: Path) -> None:
    api = ApiServer()
    async with _watching(api, account) as (placements, _):
        assert not placements.in_contact
        await eventually(lambda: len(api.watches) == 1)
        api.events.put_nowait({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}})
        await eventually(lambda: placements.in_contact)
    assert not placements.in_contact


async def test_the_status_is_merge_patched_and_the_response_carries_the_spec(account: Path) -> None:
    api = ApiServer()
    api.place("digits.edge-a", 4)
    async with _serving(api) as url:
        placements = Placements("default", placed_at("edge-a"), url, Resolver(), account)
        found = await placements.write_status("digits.edge-a", {"loaded": True})
        placements.close()
    assert api.patches == [("digits.edge-a", "application/merge-patch+json", {"status": {"loaded": True}})]
    assert found["metadata"]["generation"] == 4


async def test_a_placement_that_is_not_there_and_a_server_that_is_away_are_distinguished(
    account: Path,
) -> None:
    async with _serving(ApiServer()) as url:
        placements = Placements("default", placed_at("edge-a"), url, Resolver(), account)
        with pytest.raises(NotFound, match=mentions("digits.edge-a")):
            await placements.write_status("digits.edge-a", {})
        placements.close()
    with pytest.raises(Unreachable, match=f"API server {url}: "):
        await placements.write_status("digits.edge-a", {})


async def test_the_runtimes_of_a_service_are_read_from_names_and_labels_alone(account: Path) -> None:
    api = ApiServer()
    api.place("digits.edge-b.example", 1)
    labelled = api.place("digits-edge-c", 1)  # the form of earlier versions
    labelled["metadata"]["labels"] = {"edge-intelligence.io/node": "edge-c"}
    api.place("digits-edge-d", 1)
    own = api.place("digits.edge-e", 1)
    own["metadata"]["labels"] = {
        "edge-intelligence.io/isolation": "Dedicated",
        "edge-intelligence.io/peer-scheme": "HTTPS",
    }
    async with _serving(api) as url:
        placements = Placements("default", placed_at("edge-a"), url, Resolver(), account)
        assert await placements.runtimes_of("digits") == [
            runtime_service_name("edge-b.example"),
            "edge-runtime-edge-c",
            dedicated_service_name("digits", "edge-e"),
        ]
        assert placements.secured == {dedicated_service_name("digits", "edge-e")}
        placements.close()
    ((query, accepted),) = api.lists
    assert "labelSelector=edge-intelligence.io%2Fservice%3Ddigits" in query
    assert "limit=" in query
    assert accepted.startswith("application/json;as=PartialObjectMetadataList;")


def test_a_lone_service_selects_its_own_placement() -> None:
    assert placed_at("edge-a", "digits") == (
        "edge-intelligence.io/node=edge-a,edge-intelligence.io/service=digits"
    )


def test_outside_a_cluster_it_says_what_to_do() -> None:
    with pytest.raises(Unreachable, match=mentions("KUBERNETES_SERVICE_HOST", "placement")):
        Placements.in_cluster("default", placed_at("edge-a"), Resolver(), {})
