"""Responses for errors."""

from __future__ import annotations

from typing import Final

import orjson

from edge_runtime.asgi import JSON, Response
from edge_runtime.errors import (
    BadRequest,
    CannotAnswer,
    CannotLoad,
    DeadlinePassed,
    EdgeError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    TooLarge,
    TooSlow,
    UnknownModel,
    UnsupportedEncoding,
)
from edge_runtime.http.heads import STATUS

INTERNAL_ERROR: Final = Response(500, (JSON,), (b'{"error":"internal error: see the server\'s log"}',))
_STATUS: Final[tuple[tuple[type[EdgeError], int], ...]] = (
    (UnknownModel, 404),
    (NotFound, 404),
    (Forbidden, 403),
    (MethodNotAllowed, 405),
    (TooLarge, 413),
    (UnsupportedEncoding, 415),
    (TooSlow, 408),
    *STATUS.items(),
    (BadRequest, 400),
    (CannotLoad, 400),
    (Overloaded, 429),
    (DeadlinePassed, 504),
    (CannotAnswer, 503),
)


def refusal(error: EdgeError) -> Response:
    """The response with an error's status and message."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    headers, said = [JSON], {"error": str(error)}
    if isinstance(error, Overloaded):
        said["reason"] = error.reason
        headers.append((b"retry-after", b"%d" % error.retry_after))
    elif isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    elif isinstance(error, TooSlow):
        headers.append((b"connection", b"close"))
    return Response(status, headers, (orjson.dumps(said),))
