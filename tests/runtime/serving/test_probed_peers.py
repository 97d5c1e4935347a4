"""Probes of the peers themselves: a Triton server, and the runtime of an intermediate node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_runtime.asgi import Message
from edge_runtime.assignment import LinkSettings
from edge_runtime.connections import Resolver
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.rest.app import RestApp
from edge_runtime.served_models import ServedModels

WITHIN = 10.0


class Health:
    """Triton's health endpoint: it reads a whole POST, then refuses the method."""

    def __init__(self, status: str, rate: float) -> None:
        """rate: bytes a second at which bodies are read."""
        self.status, self.rate = status, rate
        self.bodies: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [
                    line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                ]
                left = size = int(lengths[0].split(b":")[1])
                while left:
                    left -= len(data := await reader.read(min(left, 1024)))
                    await asyncio.sleep(len(data) / self.rate)
                self.bodies.append(size)
                writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def monitored(health: Health) -> AsyncIterator[tuple[LinkMonitor, asyncio.Event]]:
    changed = asyncio.Event()
    server = await asyncio.start_server(health.serve, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    spec = LinkSettings(peer="cloud", probe=f"http://127.0.0.1:{port}/v2/health/live")
    monitor = LinkMonitor(spec, Resolver(), lambda **_: changed.set())
    monitor.start()
    try:
        yield monitor, changed
    finally:
        await monitor.stop()
        server.close()


async def test_a_triton_server_that_refuses_the_method_is_up_and_its_link_measured() -> None:
    health = Health("405 Method Not Allowed", rate=200_000)
    async with monitored(health) as (monitor, changed), asyncio.timeout(WITHIN):
        await changed.wait()
        view = monitor.view()
    assert view.up
    # At most the rate at which it was read: the rest of the time may be the link's, too.
    assert view.bandwidth is not None
    assert 0 < view.bandwidth <= 8 * health.rate
    assert health.bodies[0] == 8 << 10


@pytest.mark.parametrize("status", ["404 Not Found", "503 Service Unavailable"])
async def test_a_peer_that_responds_otherwise_is_down(status: str) -> None:
    async with monitored(Health(status, rate=1e9)) as (monitor, changed), asyncio.timeout(WITHIN):
        await changed.wait()
        assert not monitor.view().up


async def test_a_runtime_reads_the_probes_of_its_link_and_reports_its_own_times() -> None:
    sent = [b"a" * 3000, b"b" * 5000]
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": sent.pop(0), "more_body": bool(sent)}

    async def send(message: Message) -> None:
        said.append(message)

    app = RestApp(ServedModels(lambda: True, lambda: "", lambda: True), lambda: b"")
    scope = {"type": "http", "method": "POST", "path": "/v1/probe", "headers": []}
    await app(scope, receive, send)
    assert said[0]["status"] == 200
    reported = json.loads(said[1]["body"])
    assert (reported["bytes"], reported["first"]) == (8000, 3000)
    assert reported["seconds"] >= 0
