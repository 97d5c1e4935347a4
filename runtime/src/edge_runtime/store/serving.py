"""Serves the model store, or a node's cache, over HTTP, or over TLS with a plain port for health."""

from __future__ import annotations

import logging
from typing import Final

from edge_runtime.asgi import App
from edge_runtime.http.addresses import bracketed, listening, usable
from edge_runtime.http.health import HealthApp
from edge_runtime.http.servers import Door, HttpServer
from edge_runtime.store.refusals import refuse
from edge_runtime.tls.certificates import Certificates

_HEALTH: Final = ("/v1/health/live", "/v1/health/ready", "/metrics")

_log = logging.getLogger(__name__)


def store_server(
    app: App,
    host: str,
    port: int,
    certificates: Certificates | None = None,
    health_port: int | None = None,
    said: str = "the model store",
) -> HttpServer:
    """A server that is bound and not started. Raises CannotListen with the address that is not available.

    certificates: if given, the port requires TLS. health_port: port for health without TLS. said: what it
    is, for the log.
    """
    host = usable(host)
    doors = [Door(app, listening(host, port), certificates is not None)]
    if health_port is not None:
        doors.append(Door(HealthApp(app, _HEALTH), listening(host, health_port)))
    scheme = "http" if certificates is None else "https"
    server = HttpServer(doors, refuse, certificates)
    _log.info("%s is listening on %s://%s:%d", said, scheme, bracketed(host), server.ports[0])
    return server
