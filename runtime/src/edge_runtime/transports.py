"""HTTP and gRPC of one service on their addresses: bound at once, served until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from errno import EACCES
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from edge_runtime.asgi import App
from edge_runtime.endings import GOODBYE, GRACE
from edge_runtime.errors import CannotListen
from edge_runtime.grpc.credentials import server_credentials
from edge_runtime.grpc.servicer import grpc_server
from edge_runtime.inference.memory import cgroup_limit
from edge_runtime.rest.app import RestApp
from edge_runtime.rest.bodies import Bodies, room
from edge_runtime.rest.callers import AttendedCallers
from edge_runtime.rest.health import HealthApp
from edge_runtime.serving import Service
from edge_runtime.tls.certificates import Certificates

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans

_BACKLOG: Final = 2048
_HANDSHAKE: Final = 10.0
_GOODBYE: Final = 1.0
_SETTLING: Final = 0.05
_TURNS: Final = 8
_LETTING_IN: Final = 2.0
_HTTP_SOCKET: Final = "http.sock"
_GRPC_SOCKET: Final = "grpc.sock"


def _nothing_runs() -> None:
    return


class Transports:
    """Both transports. `http_port` and `grpc_port` are those that were bound, also where 0 was asked for."""

    def __init__(
        self,
        service: Service,
        exposition: Callable[[], bytes],
        host: str,
        http_port: int,
        grpc_port: int,
        uds: Path | None = None,
        certificates: Certificates | None = None,
        health_port: int | None = None,
        spans: Spans | None = None,
        end: Callable[[], None] = _nothing_runs,
        grace: float = GRACE,
    ) -> None:
        """Binds; CannotListen names the address that cannot be had.

        uds: a folder in which callers on this node find `http.sock` and `grpc.sock`; whom its permissions
          let in needs no certificate.
        certificates: with them both ports speak TLS and nothing else.
        health_port: where health and metrics are told without TLS.
        spans: with them each inference is traced.
        end: ends the inferences that still run `grace` seconds after `stop`.
        """
        self._end, self._grace = end, grace
        self._ending: asyncio.TimerHandle | None = None
        grpc_addresses = [f"{bracketed(host)}:{grpc_port}"]
        if uds is not None:
            grpc_addresses.append(f"unix:{_free_socket(uds / _GRPC_SOCKET).absolute()}")
        self._certificates = certificates
        self._socket = _bound(host, http_port)
        self.http_port: int = self._socket.getsockname()[1]
        app: App = RestApp(service, exposition, Bodies(room(cgroup_limit())))
        interceptors = []
        if spans is not None:
            from edge_runtime.grpc.traced import TracedCalls
            from edge_runtime.rest.traced import TracedApp

            app = TracedApp(app, spans)
            interceptors.append(TracedCalls(spans))
        path, health = None, None
        try:
            if uds is not None:
                path = _free_socket(uds / _HTTP_SOCKET)
            if health_port is not None:
                health = _bound(host, health_port)
            credentials = server_credentials(certificates) if certificates is not None else None
            self._grpc, (self.grpc_port, *_) = grpc_server(
                service, *grpc_addresses, credentials=credentials, interceptors=interceptors
            )
        except CannotListen:
            for bound in (self._socket, health):
                if bound is not None:
                    bound.close()
            raise
        self.health_port: int | None = health.getsockname()[1] if health is not None else None
        tls = certificates.server if certificates is not None else None
        self._http = _Http(_config(app, grace), path, tls, _config(HealthApp(app), grace), health)

    async def serve(self) -> None:
        """Serves until `stop`."""
        watching = asyncio.create_task(self._certificates.watch()) if self._certificates is not None else None
        try:
            await self._grpc.start()
            await self._http.serve([self._socket])
        finally:
            if watching is not None:
                watching.cancel()
            if self._ending is not None:
                self._ending.cancel()

    async def stop(self) -> None:
        """Takes no more requests and finishes those that are in flight: as long as that takes no longer than
        the grace period, at whose end they are answered that the server goes down.
        """
        self._http.should_exit = True
        self._ending = asyncio.get_running_loop().call_later(self._grace, self._end)
        await self._grpc.stop(self._grace + GOODBYE)


class _Http(uvicorn.Server):
    """uvicorn whose end is decided by the runtime, which has a gRPC server to end with it."""

    def __init__(
        self,
        config: uvicorn.Config,
        path: Path | None,
        tls: ssl.SSLContext | None,
        health_config: uvicorn.Config,
        health: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self._path, self._tls, self._health_config, self._health = path, tls, health_config, health

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        loop = asyncio.get_running_loop()
        # Callers who neither shake hands nor say goodbye hold nothing up.
        handshake, goodbye = (_HANDSHAKE, _GOODBYE) if self._tls is not None else (None, None)
        for sock in sockets or ():
            server = await loop.create_server(
                lambda: self._protocol(self.config),
                sock=sock,
                backlog=_BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=goodbye,
            )
            self.servers.append(server)
        if self._path is not None:
            self.servers.append(
                await loop.create_unix_server(lambda: self._protocol(self.config), str(self._path))
            )
        if self._health is not None:
            self._health_config.load()
            server = await loop.create_server(lambda: self._protocol(self._health_config), sock=self._health)
            self.servers.append(server)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What has arrived is in flight, too: uvicorn would close connections that it has not read yet.
        await self._accept_and_read()
        for server in self.servers:
            server.close()
        await _turns()
        await super().shutdown(sockets)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _accept_and_read(self) -> None:
        """Waits until no caller waits to be let in; the event loop accepts one in each of its turns."""
        until = time.monotonic() + _LETTING_IN
        listening = select.poll()
        for sock in (sock for server in self.servers for sock in server.sockets):
            listening.register(sock.fileno(), select.POLLIN)
        while listening.poll(0) and time.monotonic() < until:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        await _turns()

    def _protocol(self, config: uvicorn.Config) -> asyncio.Protocol:
        protocol: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _turns() -> None:
    """Lets the event loop read what waits in the kernel, however long one of its turns takes."""
    await asyncio.sleep(_SETTLING)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _config(app: App, grace: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=AttendedCallers,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=ceil(grace + GOODBYE / 2),
        backlog=_BACKLOG,
    )


def bracketed(host: str) -> str:
    """A host as it stands in front of a port."""
    return f"[{host}]" if ":" in host else host


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"{bracketed(host)}:{port}: HTTP cannot listen there ({error.strerror or error}); "
            f"free the port or name another"
        ) from error


def _free_socket(path: Path) -> Path:
    """The path of a socket that nobody listens on; what a process that is gone left there is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                if not os.access(path.parent, os.W_OK):
                    why = f"user {os.geteuid()} may not write to the folder; name another"
                    raise PermissionError(EACCES, why) from None
                path.unlink(missing_ok=True)
                return path
    except OSError as error:
        raise CannotListen(f"{path}: cannot listen there ({error.strerror or error})") from error
    raise CannotListen(f"{path}: another server listens there; stop it or name another folder")
