"""Health and metrics alone, for who has no certificate: the kubelet and Prometheus."""

from __future__ import annotations

from typing import Final

import orjson

from edge_runtime.asgi import App, Receive, Scope, Send, answer

_PATHS: Final = ("/v2/health/live", "/v2/health/ready", "/metrics")


class HealthApp:
    """Three paths of another application."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _PATHS:
            said = f"{scope['path'][:200]}: this port has {', '.join(_PATHS)} alone; ask the service's own"
            await answer(send, 404, orjson.dumps({"error": said}))
        else:
            await self._app(scope, receive, send)
