"""A model store and a node's cache in front of it, both on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from edge_runtime.asgi import App, Message, Receive, Scope, Send
from edge_runtime.errors import Unauthenticated
from edge_runtime.node_cache.app import NodeCacheApp
from edge_runtime.node_cache.folder import Free, free_bytes
from edge_runtime.node_cache.upstream import Upstream
from edge_runtime.store.app import StoreApp
from edge_runtime.store.callers import Account, Callers
from edge_runtime.store.serving import store_server
from waiting import until

TOKENS = {
    "shop-owner": Account("shop", "default"),
    "shop": Account("shop", "edge-runtime"),
    "bank-owner": Account("bank", "default"),
    "bank": Account("bank", "edge-runtime"),
}
LARGE = bytes(range(256)) * 8192
"""2 MiB: more than a connection's buffers, so that a reader waits for what has not arrived."""


class Known:
    """Accounts by token."""

    async def account(self, token: str) -> Account:
        if token not in TOKENS:
            raise Unauthenticated("authorization: the token is not valid")
        return TOKENS[token]


class Watched:
    """A store's application whose requests are counted, and whose bodies can be held, broken or spoilt.

    go_on: cleared, a blob stops after its first part until it is set. spoil: changes parts of blobs.
    """

    def __init__(self, app: App) -> None:
        self._app, self.asked = app, Counter[str]()
        self.go_on = threading.Event()
        self.go_on.set()
        self.breaks = False
        self.spoil: Callable[[bytes], bytes] = lambda part: part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/v1/blobs/") or scope["method"] == "PUT":
            await self._app(scope, receive, send)
            return
        self.asked[scope["method"]] += 1
        begun = False

        async def passed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.body" and (part := message.get("body")):
                if begun:
                    await asyncio.to_thread(self.go_on.wait)
                    if self.breaks:
                        raise ConnectionError("the link is cut")
                begun = True
                message = {**message, "body": self.spoil(part)}
            await send(message)

        await self._app(scope, receive, passed)


@dataclass
class Place:
    """A store, and what is needed to start caches in front of it."""

    folder: Path
    store: Watched
    url: str
    stop_store: Callable[[], None]
    running: ExitStack
    callers: Callers | None
    agents: list[str] = field(default_factory=list)

    @property
    def cached(self) -> Path:
        return self.folder / "cache" / "blobs"

    def put(self, data: bytes, owner: str = "shop-owner") -> str:
        """Stores a blob for the owner's namespace. Returns its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        headers = {"Authorization": f"Bearer {owner}"}
        httpx.put(f"{self.url}/v1/blobs/{digest}", content=data, headers=headers).raise_for_status()
        return digest

    def agent(self, limit: int = 1 << 30, kept_free: int = 0, free: Free = free_bytes) -> Agent:
        """Starts a cache on the folder; the one before has ended."""
        self.running.close()
        app = NodeCacheApp(
            self.folder / "cache", limit, Upstream(self.url, stalled=30.0), self.callers, kept_free, free
        )
        url, _ = self.running.enter_context(served(app, app.close))
        client = self.running.enter_context(httpx.Client(base_url=url, timeout=30.0))
        return Agent(client, url)


@dataclass(frozen=True)
class Agent:
    """A running cache."""

    client: httpx.Client
    url: str

    def get(self, digest: str, token: str = "shop", method: str = "GET") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(method, f"/v1/blobs/{digest}", headers=headers)

    @contextmanager
    def stream(self, digest: str, token: str = "shop") -> Iterator[httpx.Response]:
        headers = {"Authorization": f"Bearer {token}"}
        with self.client.stream("GET", f"/v1/blobs/{digest}", headers=headers) as response:
            yield response

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])

    def results(self) -> dict[str, int]:
        """Requests by result, those that there were."""
        names = ("hit", "miss", "joined", "passed", "refused", "failed")
        found = {
            name: int(self.metric(f'edge_node_cache_requests_total{{result="{name}"}}')) for name in names
        }
        return {name: count for name, count in found.items() if count}


@contextmanager
def served(app: App, close: Callable[[], object] | None = None) -> Iterator[tuple[str, Callable[[], None]]]:
    """Runs an application on a free port. Yields its URL, and what stops it."""
    server = store_server(app, "127.0.0.1", 0)

    async def serve() -> None:
        await server.serve()
        if close is not None:
            await close()  # type: ignore[misc]

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    until(lambda: server.started, lambda: "the server did not start")

    def stop() -> None:
        server.should_exit = True
        thread.join(30)

    try:
        yield f"http://127.0.0.1:{server.ports[0]}", stop
    finally:
        stop()


@contextmanager
def place(folder: Path, callers: Callers | None) -> Iterator[Place]:
    store = Watched(StoreApp(folder / "store", 1 << 30, callers=callers))
    with served(store) as (url, stop), ExitStack() as running:
        try:
            yield Place(folder, store, url, stop, running, callers)
        finally:
            store.go_on.set()
