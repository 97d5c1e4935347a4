"""The gRPC server: its services, addresses and connection settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from edge_runtime.errors import CannotListen
from edge_runtime.grpc.health import HEALTH, health_handlers
from edge_runtime.grpc.keepalive import DEFAULT, KeepAlive
from edge_runtime.grpc.reflection import REFLECTION, REFLECTION_V1, reflection_handlers
from edge_runtime.grpc.servicer import INFERENCE, inference_handlers
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.serving import Service

_LARGEST_MESSAGE: Final = LARGEST_REQUEST + (1 << 20)  # names, shapes and parameters in addition to tensors


def grpc_server(
    service: Service,
    *addresses: str,
    credentials: grpc.ServerCredentials | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    keepalive: KeepAlive = DEFAULT,
) -> tuple[grpc.aio.Server, list[int]]:
    """Returns a server that is not started yet, and its bound ports. Raises CannotListen if one is taken.

    An address is `host:port`, with TLS if there are `credentials`, or `unix:/path` of a socket.
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
        INFERENCE: inference_handlers(service),
        HEALTH: health_handlers(service, INFERENCE),
        REFLECTION: reflection,
        REFLECTION_V1: reflection,
    }
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in services.items())
    )
    ports = []
    for address in addresses:
        try:
            if credentials is None or address.startswith("unix:"):
                ports.append(server.add_insecure_port(address))
            else:
                ports.append(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise CannotListen(
                f"{address}: gRPC cannot listen on this address: free the port or use another"
            ) from error
    return server, ports
