"""Minimal ASGI request and response functions.

A web framework would cost more than the work itself on the hot path.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import orjson

from edge_runtime.errors import BadRequest, CallerLeft, TooLarge, TooSlow
from edge_runtime.json_values import Json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. headers: without content-length and connection, which the server adds."""

    status: int
    headers: Sequence[Header]
    parts: Sequence[bytes | memoryview]


# Responds to a request with this body, or returns None if the application has to be awaited.
AtOnce = Callable[[bytes | memoryview], Response | None]


@runtime_checkable
class PromptApp(Protocol):
    """An application that can respond to some requests without waiting.

    A task, an event and messages in both directions cost more than a short inference.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds to any request."""

    def at_once(self, method: str, path: str, headers: Sequence[Header]) -> AtOnce | None:
        """How to respond to requests with this head; None if they all have to be awaited."""


JSON = (b"content-type", b"application/json")
_TOGETHER: Final = 1 << 12


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yields the parts of the body as they arrive."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft("the client disconnected")
        if body := message.get("body"):
            yield body
        if not message.get("more_body"):
            return


async def read_body(
    receive: Receive,
    limit: int,
    grow: Callable[[int], None] | None = None,
    patience: float | None = None,
) -> bytes:
    """Returns the whole body. Raises TooLarge above `limit` bytes and CallerLeft if the client disconnects.

    grow: called with the size of each part as it arrives; an exception from it ends the reading.
    patience: seconds to wait for the next part before TooSlow is raised; None: no limit.
    """
    parts: list[bytes] = []
    size = 0
    message = await receive()
    while message["type"] != "http.disconnect":
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(f"body: larger than {limit} bytes: send a smaller request")
        if grow is not None:
            grow(len(part))
        parts.append(part)
        if not message.get("more_body"):
            return part if len(parts) == 1 else b"".join(parts)
        try:
            async with asyncio.timeout(patience):
                message = await receive()
        except TimeoutError:
            raise TooSlow(
                f"body: no data for {patience:g} s after {size} bytes: send it without pauses"
            ) from None
    raise CallerLeft("the client disconnected")


def parse_json(body: bytes) -> Json:
    """Parses a JSON body; raises BadRequest if it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not valid JSON ({error}): send one JSON object") from error


async def reply(
    send: Send, status: int, parts: Sequence[bytes | memoryview], headers: Iterable[Header]
) -> None:
    """Sends a complete response of several parts.

    Long parts are sent separately to avoid a copy; short ones are joined, because each costs a system call.
    """
    size = sum(map(len, parts))
    if size <= _TOGETHER:
        await respond(send, status, b"".join(parts), headers)
        return
    length = (b"content-length", b"%d" % size)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def respond(send: Send, status: int, body: bytes = b"", headers: Iterable[Header] = (JSON,)) -> None:
    """Sends a complete response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
