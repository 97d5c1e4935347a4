"""Errors of the model store as HTTP responses, which the cache of a node has in common with it."""

from __future__ import annotations

from typing import Final

import orjson

from edge_runtime.asgi import JSON, Send, respond
from edge_runtime.errors import (
    DigestMismatch,
    DiskFull,
    EdgeError,
    Forbidden,
    NotFound,
    TooLarge,
    TooSlow,
    Unauthenticated,
    Unreachable,
)
from edge_runtime.http.heads import STATUS

_STATUS: Final[dict[type[EdgeError], int]] = {
    EdgeError: 500,
    Unauthenticated: 401,
    Forbidden: 403,
    DigestMismatch: 422,
    NotFound: 404,
    TooLarge: 413,
    DiskFull: 507,
    Unreachable: 502,
    TooSlow: 408,
    **STATUS,
}


async def refuse(send: Send, error: EdgeError) -> None:
    """Responds with an error's status, reason and message."""
    await refuse_with(send, _STATUS.get(type(error), 400), error.reason, str(error))


async def refuse_with(send: Send, status: int, reason: str, message: str) -> None:
    """Responds with a status, a reason and a message."""
    headers = [JSON, (b"www-authenticate", b"Bearer")] if status == 401 else [JSON]
    await respond(send, status, orjson.dumps({"error": {"reason": reason, "message": message}}), headers)
