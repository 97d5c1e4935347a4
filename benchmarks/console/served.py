"""A console in this process, over objects in memory, with tokens that are made up."""

from __future__ import annotations

import contextlib
import datetime
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from edge_console.errors import UnavailableError
from edge_console.planning import Plans, Times
from edge_console.recent import Samples
from edge_console.rights import Identity, Right
from edge_console.server import Console, Server
from edge_console.viewers import Viewers
from edge_operator.cluster import Kind, Object
from edge_operator.explaining.installed import Installed
from edge_operator.explaining.overlays import Mirrored
from edge_operator.explaining.replanning import READ
from edge_operator.list_watch import Listed
from edge_operator.observed.watching import Watching
from edge_operator.settings import Settings

SETTINGS = Settings("http://store.test:8080", "edge-runtime:test", installation="c0ffee000000")
EVERYTHING = "token-of-an-administrator"
"""A token whose holder may list everything."""


class MemoryServer:
    """Lists and watches of objects in memory. `put` and `remove` are changes by others."""

    def __init__(self, bodies: list[Object]) -> None:
        self._bodies = {_key(body): body for body in bodies}
        self._events: dict[str, queue.SimpleQueue[tuple[str, Object] | None]] = {}
        self._revision = 10**6
        self._lock = threading.Lock()

    def objects(self, kind: Kind, namespace: str | None) -> Listed:
        with self._lock:
            self._events[kind.kind] = queue.SimpleQueue()
            found = [
                body for (k, n, _), body in self._bodies.items() if k == kind.kind and namespace in (None, n)
            ]
            return Listed(found, str(self._revision))

    def watch(self, kind: Kind, namespace: str | None, version: str) -> Iterator[tuple[str, Object]]:
        events = self._events[kind.kind]
        while (event := events.get()) is not None:
            yield event

    def put(self, body: Object) -> None:
        self._send("MODIFIED", body)

    def remove(self, body: Object) -> None:
        self._send("DELETED", body)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        return self._bodies[kind, namespace, name]

    def stop(self) -> None:
        for events in self._events.values():
            events.put(None)

    def _send(self, event: str, body: Object) -> None:
        with self._lock:
            self._revision += 1
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._revision)}}
            if event == "DELETED":
                self._bodies.pop(_key(body), None)
            else:
                self._bodies[_key(body)] = body
            if body["kind"] in self._events:
                self._events[body["kind"]].put((event, body))


@dataclass
class MadeUpRights:
    """Namespaces by token, and the tokens that see pools and Tenants. `asked` counts reviews."""

    namespaces: Mapping[str, frozenset[str]] = field(default_factory=dict)
    cluster: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    """Resources that no viewer can list, by plural."""
    away: bool = False
    """Whether the API server does not respond."""
    tokens_asked: list[str] = field(default_factory=list)
    rights_asked: list[tuple[str, Right]] = field(default_factory=list)

    def review(self, token: str) -> Identity | None:
        if self.away:
            raise UnavailableError("API server: no response")
        self.tokens_asked.append(token)
        known = token == EVERYTHING or token in self.namespaces
        return Identity(f"user-of-{token}", groups=("system:authenticated",)) if known else None

    def allows(self, identity: Identity, right: Right) -> bool:
        self.rights_asked.append((identity.name, right))
        token = identity.name.removeprefix("user-of-")
        if right.resource in self.refused:
            return False
        if token == EVERYTHING:
            return True
        if right.resource in ("devicepools", "nodes", "tenants"):
            return token in self.cluster
        return right.namespace in self.namespaces[token]


@dataclass(frozen=True)
class Served:
    """A running console."""

    url: str
    server: MemoryServer
    watching: Watching
    samples: Samples


@contextlib.contextmanager
def served(
    bodies: list[Object],
    rights: MadeUpRights,
    wall: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    settings: Settings = SETTINGS,
    plan_clock: Callable[[], float] = time.monotonic,
    review_clock: Callable[[], float] = time.monotonic,
) -> Iterator[Served]:
    """Serves a console until the end of the block.

    plan_clock: by which the rate of plans is limited. review_clock: by which verdicts of the API server age.
    """
    server, samples = MemoryServer(bodies), Samples()
    watching = Watching(server, READ)
    plans = Plans(Mirrored(watching.mirror), lambda: Installed(settings), Times(plan_clock, wall))
    application = Server(Console(watching, Viewers(rights, review_clock), plans, samples)).app()
    watching.start()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        config = uvicorn.Config(
            application, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="on"
        )
        http = Http(config)
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        _await(lambda: http.started and not watching.missing)
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", server, watching, samples)
        finally:
            watching.stop()
            server.stop()
            http.should_exit = True
            thread.join(10)


class Http(uvicorn.Server):
    """Without handlers of signals, which only a main thread can have."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _await(met: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not met():
        if time.monotonic() > until:
            raise TimeoutError("the console did not start")
        time.sleep(0.01)


def _key(body: Mapping[str, Any]) -> tuple[str, str, str]:
    return body["kind"], body["metadata"].get("namespace") or "", body["metadata"]["name"]
