"""The model store as a server: HTTP, or TLS with a plain port for health."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn

from edge_runtime.asgi import App
from edge_runtime.rest.health import HealthApp
from edge_runtime.tls.certificates import Certificates

_HEALTH: Final = ("/v1/health/live", "/v1/health/ready")


def serve_store(
    app: App, host: str, port: int, certificates: Certificates | None = None, health_port: int | None = None
) -> None:
    """Serves until SIGTERM or SIGINT.

    certificates: with them the port speaks TLS and nothing else. health_port: where health is told without.
    """
    config = _config(app, host, port)
    if certificates is not None:
        config.load()
        config.ssl = certificates.server
    health = None if health_port is None else _config(HealthApp(app, _HEALTH), host, health_port)
    _Server(config, certificates, health).run()


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, certificates: Certificates | None, health: uvicorn.Config | None
    ) -> None:
        super().__init__(config)
        self._certificates, self._health = certificates, health
        self._watching: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._certificates is not None:
            self._watching = asyncio.create_task(self._certificates.watch())
        health = self._health
        if health is None:
            return
        health.load()
        self.servers.append(
            await asyncio.get_running_loop().create_server(
                lambda: self._protocol(health), health.host, health.port, backlog=health.backlog
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().shutdown(sockets)

    def _protocol(self, config: uvicorn.Config) -> asyncio.Protocol:
        protocol: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _config(app: App, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=5,
    )
