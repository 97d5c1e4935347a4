"""The bodies of requests: how much they may hold together, and how long one may pause on its way."""

from __future__ import annotations

from typing import Final

from edge_runtime.asgi import Receive, read_body
from edge_runtime.errors import QueueFull
from edge_runtime.protocol.contents import LARGEST_REQUEST

PATIENCE: Final = 30.0
_MOST: Final = 4 * LARGEST_REQUEST
_SHARE: Final = 4  # of the memory that this process may take: a fourth


def room(limit: int | None) -> int:
    """Bytes that bodies may hold together, where memory has this limit: at least one request always fits."""
    return _MOST if limit is None else max(LARGEST_REQUEST, min(_MOST, limit // _SHARE))


class Bodies:
    """Those that are held: from their first byte until `done`. `held` is how many bytes."""

    def __init__(self, most: int = _MOST, patience: float = PATIENCE) -> None:
        """`most` bytes together; `patience` in seconds without a byte."""
        self._most, self._patience = most, patience
        self.held = 0

    async def read(self, receive: Receive) -> bytes:
        """The whole body, which counts until it is `done`.

        Raises TooLarge for more than LARGEST_REQUEST bytes, QueueFull when others hold too many, TooSlow,
        and CallerLeft.
        """
        taken = 0

        def grow(more: int) -> None:
            nonlocal taken
            if self.held + more > self._most:
                raise QueueFull(
                    f"body: requests that are not answered yet hold {self.held} of {self._most} bytes; "
                    "ask again in 1 s",
                    1,
                )
            self.held += more
            taken += more

        try:
            return await read_body(receive, LARGEST_REQUEST, grow, self._patience)
        except BaseException:
            self.held -= taken
            raise

    def done(self, body: bytes) -> None:
        """The request of this body is answered."""
        self.held -= len(body)
