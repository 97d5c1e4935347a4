"""A span around each inference over HTTP."""

from __future__ import annotations

from typing import Final

from edge_runtime.asgi import App, Message, Receive, Scope, Send
from edge_runtime.tracing.contexts import read
from edge_runtime.tracing.spans import Spans

_ROUTE: Final = "/v2/models/{model}/infer"


class TracedApp:
    """Traces the inferences of another application."""

    def __init__(self, app: App, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/infer"):
            await self._app(scope, receive, send)
            return
        attributes = {
            "http.request.method": "POST",
            "http.route": _ROUTE,
            "url.path": scope["path"][:200],
            "url.scheme": scope["scheme"],
        }
        with self._spans.request(f"POST {_ROUTE}", read(scope["headers"]), attributes) as request:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    request.status(message["status"])
                await send(message)

            await self._app(scope, receive, noted)
