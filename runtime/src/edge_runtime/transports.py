"""HTTP and gRPC servers: bound at construction, serving until stopped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from edge_runtime.asgi import App
from edge_runtime.errors import CannotListen
from edge_runtime.grpc.credentials import server_credentials
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive
from edge_runtime.grpc.peer_calls import PeerCalls
from edge_runtime.grpc.servers import grpc_server
from edge_runtime.http.addresses import bracketed, free_socket, listening, usable
from edge_runtime.http.callers import AttendedConnection
from edge_runtime.http.health import HealthApp
from edge_runtime.http.servers import Door, HttpServer
from edge_runtime.inference.memory import cgroup_limit
from edge_runtime.protocol.repository import Repository
from edge_runtime.rest.app import RestApp, refuse
from edge_runtime.rest.bodies import Bodies, room
from edge_runtime.rest.forwarding import HttpForwarder
from edge_runtime.service_nodes import PeerPorts
from edge_runtime.serving import Models
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory
from edge_runtime.shutdown import GOODBYE, GRACE
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tls.peers import NamespacePeers

if TYPE_CHECKING:
    from edge_runtime.tracing.spans import Spans

_HTTP_SOCKET: Final = "http.sock"
_GRPC_SOCKET: Final = "grpc.sock"


def _nothing_runs() -> None:
    return


class Transports:
    """Both transports. `http_port`, `grpc_port` and `peer_ports` are the bound ports, also if 0 was
    requested; `host` is the requested host.
    """

    def __init__(
        self,
        models: Models,
        exposition: Callable[[], bytes],
        *,
        host: str,
        http_port: int,
        grpc_port: int,
        uds: Path | None = None,
        certificates: Certificates | None = None,
        health_port: int | None = None,
        peer_ports: PeerPorts | None = None,
        peers: NamespacePeers | None = None,
        spans: Spans | None = None,
        end: Callable[[], None] = _nothing_runs,
        grace: float = GRACE,
        keepalive: KeepAlive = DEFAULT,
        forwarders: tuple[HttpForwarder, GrpcForwarder] | None = None,
        repository: Repository | None = None,
        memory: SharedMemory = NO_SHARED_MEMORY,
    ) -> None:
        """Binds the addresses. Raises CannotListen with the address that is not available.

        uds: folder for `http.sock` and `grpc.sock`, for clients on this node; clients that its permissions
          admit need no certificate.
        certificates: if given, TLS is required on both ports, or on the peer ports alone if there are any.
        peer_ports: ports for other nodes, beside those for clients.
        peers: whom the ports for other nodes admit; None: everyone with a certificate of the authority.
        health_port: port for health and metrics without TLS.
        spans: if given, each inference is traced.
        end: ends the inferences that still run `grace` seconds after `stop`.
        keepalive: keepalive settings of gRPC connections.
        forwarders: for models that only other nodes serve.
        repository: loads and unloads models for clients; None: they cannot.
        memory: regions of shared memory that clients on this node register.
        """
        self._end, self._grace = end, grace
        self._ending: asyncio.TimerHandle | None = None
        self.host = host = usable(host)
        grpc_addresses = [f"{bracketed(host)}:{grpc_port}"]
        if uds is not None:
            grpc_addresses.append(f"unix:{free_socket(uds / _GRPC_SOCKET).absolute()}")
        by_http, by_grpc = forwarders if forwarders is not None else (None, None)
        app: App = RestApp(models, exposition, Bodies(room(cgroup_limit())), by_http, repository, memory)
        admit = functools.partial(peers.admit, "http") if peers is not None else None
        interceptors: list[grpc.aio.ServerInterceptor] = [PeerCalls(peers)] if peers is not None else []
        if spans is not None:
            from edge_runtime.grpc.traced import TracedCalls
            from edge_runtime.rest.traced import TracedApp

            app = TracedApp(app, spans)
            interceptors.append(TracedCalls(spans))
        bound = [listening(host, http_port)]
        doors = [Door(app, bound[0], certificates is not None and peer_ports is None)]
        try:
            if peer_ports is not None:
                bound.append(listening(host, peer_ports.http))
                doors.append(Door(app, bound[-1], tls=True, admit=admit))
            if uds is not None:
                doors.append(Door(app, free_socket(uds / _HTTP_SOCKET)))
            if health_port is not None:
                bound.append(listening(host, health_port))
                doors.append(Door(HealthApp(app), bound[-1]))
            credentials = server_credentials(certificates) if certificates is not None else None
            self._grpc, (self.grpc_port, *more) = grpc_server(
                models,
                *grpc_addresses,
                credentials=credentials,
                peers=f"{bracketed(host)}:{peer_ports.grpc}" if peer_ports is not None else None,
                interceptors=interceptors,
                keepalive=keepalive,
                forwarder=by_grpc,
                repository=repository,
                memory=memory,
            )
        except CannotListen:
            for sock in bound:
                sock.close()
            raise
        self._http = _Http(doors, refuse, certificates, AttendedConnection, grace + GOODBYE / 2)
        self.http_port, *others = self._http.ports
        self.peer_ports = PeerPorts(others.pop(0), more[-1]) if peer_ports is not None else None
        self.health_port: int | None = others[0] if others else None

    async def serve(self) -> None:
        """Serves until `stop`."""
        try:
            await self._grpc.start()
            await self._http.serve()
        finally:
            if self._ending is not None:
                self._ending.cancel()

    async def stop(self) -> None:
        """Rejects new requests and finishes those in flight. After the grace period the rest get an error
        that the server is shutting down.
        """
        self._http.should_exit = True
        self._ending = asyncio.get_running_loop().call_later(self._grace, self._end)
        await self._grpc.stop(self._grace + GOODBYE)


class _Http(HttpServer):
    """A server that the runtime stops together with the gRPC server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
