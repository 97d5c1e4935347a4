"""The gRPC server: its services, addresses and connection settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc

from edge_runtime.errors import CannotListen
from edge_runtime.grpc.forwarding import GrpcForwarder
from edge_runtime.grpc.health import HEALTH, health_handlers
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive
from edge_runtime.grpc.reflection import REFLECTION, REFLECTION_V1, reflection_handlers
from edge_runtime.grpc.servicer import INFERENCE, inference_handlers
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.protocol.repository import Repository
from edge_runtime.serving import Models
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory

_LARGEST_MESSAGE: Final = LARGEST_REQUEST + (1 << 20)  # names, shapes and parameters in addition to tensors

# Seconds without a new call after which all that have arrived are accepted, and the maximum to wait for that.
_QUIET: Final = 0.05
_MOST_QUIET: Final = 0.5


class _Accepted(grpc.GenericRpcHandler):
    """Counts the calls that the event loop accepts, and leaves them to the other handlers."""

    calls = 0

    def service(self, handler_call_details: object) -> None:
        self.calls += 1


class GrpcServer:
    """A server that answers the calls that arrive before it stops."""

    def __init__(self, server: grpc.aio.Server, accepted: _Accepted) -> None:
        self._server, self._accepted = server, accepted

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float | None) -> None:
        """Rejects new calls, and cancels those that still run after `grace` seconds (None: immediately).

        gRPC's own `stop` cancels calls that have arrived but wait for the event loop, and their clients read
        that as if they had canceled the calls themselves.
        """
        if grace is not None:
            loop = asyncio.get_running_loop()
            begin, before = loop.time(), -1
            while before != self._accepted.calls and loop.time() < begin + _MOST_QUIET:
                before = self._accepted.calls
                await asyncio.sleep(_QUIET)
            grace = max(grace - (loop.time() - begin), 0.0)
        await self._server.stop(grace)


def grpc_server(
    models: Models,
    *addresses: str,
    credentials: grpc.ServerCredentials | None = None,
    peers: str | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    keepalive: KeepAlive = DEFAULT,
    forwarder: GrpcForwarder | None = None,
    repository: Repository | None = None,
    memory: SharedMemory = NO_SHARED_MEMORY,
) -> tuple[GrpcServer, list[int]]:
    """Returns a server that is not started yet, and its bound ports. Raises CannotListen if one is taken.

    An address is `host:port`, with TLS if there are `credentials`, or `unix:/path` of a socket. peers: one
    more address, the last of the ports; then it alone has TLS. repository: loads and unloads models, if
    clients may. memory: regions that clients register.
    """
    server = grpc.aio.server(
        interceptors=interceptors,
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            *keepalive.options(),
        ],
    )
    reflection = reflection_handlers((INFERENCE, HEALTH, REFLECTION))
    services = {
        INFERENCE: inference_handlers(models, forwarder, repository, memory),
        HEALTH: health_handlers(models, INFERENCE),
        REFLECTION: reflection,
        REFLECTION_V1: reflection,
    }
    accepted = _Accepted()
    server.add_generic_rpc_handlers(
        (
            accepted,
            *(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in services.items()),
        )
    )
    secured = credentials if peers is None else None
    listening = [(each, None if each.startswith("unix:") else secured) for each in addresses]
    if peers is not None:
        listening.append((peers, credentials))
    ports = []
    for address, required in listening:
        try:
            if required is None:
                ports.append(server.add_insecure_port(address))
            else:
                ports.append(server.add_secure_port(address, required))
        except RuntimeError as error:
            raise CannotListen(
                f"{address}: gRPC cannot listen on this address: free the port or use another"
            ) from error
    return GrpcServer(server, accepted), ports
