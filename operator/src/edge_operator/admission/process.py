"""`edge-operator admission`: watches what reviews are decided on, and serves the webhook until SIGTERM."""

import asyncio
import contextlib
import logging
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import prometheus_client
import uvicorn

from edge_operator.admission import metrics
from edge_operator.admission.served_certificate import ServedCertificate
from edge_operator.admission.server import Server
from edge_operator.admission.states import READ, Rules, State
from edge_operator.cluster import (
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    NAMESPACES,
    TENANTS,
    client_from_environment,
)
from edge_operator.list_watch import ListWatch
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.watching import Watching

_AT_ONCE: Final = 64
"""Connections and requests; others get 503 at once."""
_SHUTDOWN_SECONDS: Final = 5
DRAIN: Final = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the process is run.

    Attributes:
        port: Of the webhook, on all addresses. metrics_port: of /metrics; 0: none.
        tls_dir: Folder with tls.crt and tls.key.
        scope: The only namespace whose services are watched; None: all.
    """

    port: int
    tls_dir: Path
    metrics_port: int = 0
    scope: str | None = None
    rules: Rules = field(default_factory=Rules)


def run(options: Options) -> None:
    """Serves until SIGTERM. Raises ClusterError without a cluster, and CertificatesError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    watching = Watching(ListWatch(client_from_environment()), READ, options.scope)
    certificate = ServedCertificate(options.tls_dir)
    if options.metrics_port:
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - a pod of its own
        prometheus_client.start_http_server(options.metrics_port, host)
    watching.on_change(lambda: metrics.READY.set(0 if watching.missing else 1))
    watching.start()
    with listening(options.port) as socket_:
        asyncio.run(serve(watching, certificate, options.rules, socket_))
    watching.stop()


class _Draining(uvicorn.Server):
    """Answers for DRAIN seconds after SIGTERM: the Service still sends requests until all nodes know."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        timer = threading.Timer(DRAIN, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()


async def serve(
    watching: Watching, certificate: ServedCertificate, rules: Rules, socket_: socket.socket
) -> None:
    """Serves on a socket, and follows the certificate's files."""
    server = Server(lambda: state_of(watching.mirror, rules), lambda: watching.missing)
    config = uvicorn.Config(
        server.app(),
        ssl_context_factory=lambda *_: certificate.context,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        limit_concurrency=_AT_ONCE,
    )
    following = asyncio.create_task(certificate.follow())
    try:
        await _Draining(config).serve(sockets=[socket_])
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def state_of(mirror: Mirror, rules: Rules) -> State:
    """Returns the objects of a mirror, as references: takes time proportional to their number."""
    return State(
        services=tuple(mirror.find(INFERENCE_SERVICES.kind)),
        pools=tuple(mirror.find(DEVICE_POOLS.kind)),
        tenants=tuple(mirror.find(TENANTS.kind)),
        namespaces=tuple(mirror.find(NAMESPACES.kind)),
        rules=rules,
    )


def listening(port: int) -> socket.socket:
    """Returns a socket that listens on all addresses of this machine, of both families."""
    if socket.has_dualstack_ipv6():
        # A kernel can have IPv6 and no address of it.
        with contextlib.suppress(OSError):
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
