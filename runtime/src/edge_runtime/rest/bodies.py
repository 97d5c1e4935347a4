"""The bodies of requests: how much they may hold together, and how long one may pause on its way."""

from __future__ import annotations

import asyncio
from typing import Final

from edge_runtime.asgi import Message, Receive
from edge_runtime.errors import CallerLeft, QueueFull, TooLarge, TooSlow
from edge_runtime.inference.memory import cgroup_limit
from edge_runtime.protocol.contents import LARGEST_REQUEST

PATIENCE: Final = 30.0
_MOST: Final = 4 * LARGEST_REQUEST
_SHARE: Final = 4  # of the memory that this process may take: a fourth


def room(limit: int | None) -> int:
    """Bytes that bodies may hold together, where memory has this limit: at least one request always fits."""
    return _MOST if limit is None else max(LARGEST_REQUEST, min(_MOST, limit // _SHARE))


class Bodies:
    """Those that are held: from their first byte until `done`. `held` is how many bytes."""

    def __init__(self, most: int | None = None, patience: float = PATIENCE) -> None:
        """`most` bytes together, by default as `room` says; `patience` in seconds without a byte."""
        self._most = room(cgroup_limit()) if most is None else most
        self._patience = patience
        self.held = 0

    async def read(self, receive: Receive) -> bytes:
        """The whole body, which counts until it is `done`.

        Raises TooLarge for more than LARGEST_REQUEST bytes, QueueFull when others hold too many, TooSlow,
        and CallerLeft.
        """
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            self._take(len(body), 0)
            return body
        return await self._read_on(receive, message)

    def done(self, body: bytes) -> None:
        """The request of this body is answered."""
        self.held -= len(body)

    async def _read_on(self, receive: Receive, message: Message) -> bytes:
        parts, size = [], 0
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise CallerLeft("the caller left")
                part = message.get("body", b"")
                self._take(len(part), size)
                size += len(part)
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
                async with asyncio.timeout(self._patience):
                    message = await receive()
        except TimeoutError:
            self.held -= size
            raise TooSlow(
                f"body: nothing came for {self._patience:g} s after {size} bytes; send it without pauses"
            ) from None
        except BaseException:
            self.held -= size
            raise

    def _take(self, more: int, before: int) -> None:
        if before + more > LARGEST_REQUEST:
            raise TooLarge(f"body: more than {LARGEST_REQUEST} bytes; send a smaller request")
        if self.held + more > self._most:
            raise QueueFull(
                f"body: requests that are not answered yet hold {self.held} of {self._most} bytes; "
                "ask again in 1 s",
                1,
            )
        self.held += more
