"""The few shapes of ASGI that the bare applications here use.

On the hot path a framework would cost more than the work itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Final

import orjson

from edge_runtime.errors import BadRequest, CallerLeft, TooLarge, TooSlow
from edge_runtime.json_values import Json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = (b"content-type", b"application/json")
_TOGETHER: Final = 1 << 12


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it arrives."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft("the caller left")
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
    """The whole body; TooLarge beyond `limit` bytes, CallerLeft when the caller does.

    grow: told of each part's bytes as it comes; what it raises ends the reading.
    patience: seconds without a part after which that is TooSlow; None: there is no such limit.
    """
    parts: list[bytes] = []
    size = 0
    message = await receive()
    while message["type"] != "http.disconnect":
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge(f"body: more than {limit} bytes; send a smaller request")
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
                f"body: nothing came for {patience:g} s after {size} bytes; send it without pauses"
            ) from None
    raise CallerLeft("the caller left")


def parse_json(body: bytes) -> Json:
    """BadRequest for what is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body: not JSON ({error}); send one JSON object") from error


async def reply(
    send: Send, status: int, parts: Sequence[bytes | memoryview], headers: Iterable[tuple[bytes, bytes]]
) -> None:
    """One complete response in several parts: long ones are not copied together, short ones are, since each
    costs a call to the kernel.
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


async def respond(
    send: Send, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = (JSON,)
) -> None:
    """One complete response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
