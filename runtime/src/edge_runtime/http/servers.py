"""Serves an application over HTTP: several addresses, with or without TLS, and health on a plain port."""

from __future__ import annotations

import asyncio
import functools
import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

import uvicorn

from edge_runtime.asgi import App
from edge_runtime.http.addresses import BACKLOG
from edge_runtime.http.connections import PATIENCE, Admit, ServerConnection
from edge_runtime.http.exchanges import Refuse
from edge_runtime.tls.certificates import Certificates

GRACE: Final = 10
_HANDSHAKE: Final = 10.0
_GOODBYE: Final = 1.0
_SETTLING: Final = 0.05
_TURNS: Final = 8
_LETTING_IN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Door:
    """Where an application is reached: a listening socket, or the path of a future one.

    tls: whether clients must use TLS. admit: which of their certificates; None: every valid one.
    """

    app: App
    place: socket.socket | Path
    tls: bool = False
    admit: Admit | None = None


class HttpServer(uvicorn.Server):
    """uvicorn on several doors that finishes all received requests before it ends.

    `ports` are those of its sockets, in the order of the doors.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        refuse: Refuse,
        certificates: Certificates | None = None,
        kind: type[ServerConnection] = ServerConnection,
        grace: float = GRACE,
    ) -> None:
        """refuse: see Connection. certificates: for the doors with TLS; changes are followed. kind: class of
        the connections. grace: seconds that requests in flight get at shutdown.
        """
        self._doors = [
            (door, config_of(door.app, functools.partial(kind, refuse=refuse, admit=door.admit), grace))
            for door in doors
        ]
        super().__init__(self._doors[0][1])
        places = [door.place for door in doors]
        self.ports = [place.getsockname()[1] for place in places if isinstance(place, socket.socket)]
        self._certificates = certificates
        self._watching: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        if self._certificates is not None:
            self._watching = asyncio.create_task(self._certificates.watch())
        for door, config in self._doors:
            if not config.loaded:  # uvicorn loads the first
                config.load()
            self.servers.append(await self._listen(door, functools.partial(self._connection, config)))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Received requests are in flight, too: uvicorn would close connections that it has not read yet.
        await self._accept_and_read()
        for server in self.servers:
            server.close()
        await _turns()
        await super().shutdown(sockets)
        if self._watching is not None:
            self._watching.cancel()
        for door, _ in self._doors:
            if isinstance(door.place, Path):
                door.place.unlink(missing_ok=True)

    async def _listen(self, door: Door, connection: functools.partial[asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if isinstance(door.place, Path):
            return await loop.create_unix_server(connection, str(door.place))
        if not door.tls:
            return await loop.create_server(connection, sock=door.place, backlog=BACKLOG)
        assert self._certificates is not None
        tls: ssl.SSLContext = self._certificates.server
        # Clients that neither complete a handshake nor close must not delay the shutdown.
        return await loop.create_server(
            connection,
            sock=door.place,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE,
            ssl_shutdown_timeout=_GOODBYE,
        )

    def _connection(self, config: uvicorn.Config) -> asyncio.Protocol:
        protocol: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _accept_and_read(self) -> None:
        """Waits until no connection is pending; the event loop accepts one per iteration."""
        until = time.monotonic() + _LETTING_IN
        listening = select.poll()
        for sock in (sock for server in self.servers for sock in server.sockets):
            listening.register(sock.fileno(), select.POLLIN)
        while listening.poll(0) and time.monotonic() < until:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        await _turns()


async def _turns() -> None:
    """Lets the event loop read what the kernel has buffered, even if an iteration takes long."""
    await asyncio.sleep(_SETTLING)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def config_of(app: App, connection: functools.partial[ServerConnection], grace: float) -> uvicorn.Config:
    """The uvicorn configuration of an application."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=connection,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=round(PATIENCE),
        timeout_graceful_shutdown=ceil(grace),
        backlog=BACKLOG,
    )
