"""Health and metrics only, for clients without a certificate: the kubelet and Prometheus."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson

from edge_runtime.asgi import App, Receive, Scope, Send, respond

_PATHS: Final = ("/v2/health/live", "/v2/health/ready", "/metrics")


class HealthApp:
    """Exposes a few paths of another application."""

    def __init__(self, app: App, paths: Collection[str] = _PATHS) -> None:
        self._app, self._paths = app, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._paths:
            said = f"{scope['path'][:200]}: this port only serves {', '.join(self._paths)}: use the main port"
            await respond(send, 404, orjson.dumps({"error": said}))
        else:
            await self._app(scope, receive, send)
