"""Substitutes of the model store and of all Triton servers: they answer at once, and hold nothing but names.

    python -m benchmarks.operator.stand_ins PORT

They listen at all loopback addresses; the host of an address distinguishes the Triton servers.
`GET /found` returns what the servers hold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import uvicorn

from benchmarks.operator.answers import SLICE_BYTES, Servers, card, layers, piece, profile

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class StandIns:
    """The ASGI application."""

    def __init__(self) -> None:
        self._servers = Servers()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        host = next((value.decode() for name, value in scope["headers"] if name == b"host"), "")
        parts = unquote(scope["path"]).strip("/").split("/")
        found = self._answer(scope["method"], host, parts, bytes(body))
        status = 404 if found is None else 200
        content = found if isinstance(found, bytes) else json.dumps(found or {}).encode()
        headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, method: str, host: str, parts: list[str], body: bytes) -> object:
        match method, parts:
            case "POST", ["v1", "models"]:
                return card(json.loads(body))
            case "POST", ["v1", "slices"]:
                return piece(json.loads(body))
            case "GET", ["v1", "models", _, "layers"]:
                return layers()
            case "GET", ["v1", "profiles", model, selection, device_class]:
                return profile(model, selection, device_class)
            case "GET", ["v1", "transfers"]:
                return {"transfers": []}
            case "GET", ["v1", "blobs", _]:
                return bytes(SLICE_BYTES)
            case "GET", ["found"]:
                return self._servers.found()
            case "GET", ["v2"]:
                return {"name": "triton", "version": "2.0", "extensions": []}
            case "GET", ["v2", "models", "stats"]:
                return self._servers.statistics(host)
            case "GET", ["v2", "models", name, "config"]:
                return self._servers.models.get((host, name))
            case "POST", ["v2", "repository", "index"]:
                return []
            case "POST", ["v2", "repository", "models", name, "load"]:
                self._servers.load(host, name, json.loads(body))
                return {}
            case "POST", ["v2", "repository", "models", name, "unload"]:
                self._servers.unload(host, name)
                return {}
        return None


if __name__ == "__main__":
    uvicorn.run(StandIns(), host="0.0.0.0", port=int(sys.argv[1]), log_level="warning", access_log=False)
