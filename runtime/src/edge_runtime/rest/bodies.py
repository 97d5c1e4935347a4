"""Limits for bodies of requests: their total memory, and how long one can stall."""

from __future__ import annotations

from typing import Final

from edge_runtime.asgi import Receive, read_body
from edge_runtime.errors import Overloaded
from edge_runtime.protocol.contents import LARGEST_REQUEST

PATIENCE: Final = 30.0
_MOST: Final = 4 * LARGEST_REQUEST
_SHARE: Final = 4  # bodies may take a fourth of the memory limit


def room(limit: int | None) -> int:
    """Total bytes for bodies under a memory limit; at least one request always fits."""
    return _MOST if limit is None else max(LARGEST_REQUEST, min(_MOST, limit // _SHARE))


class Bodies:
    """Bodies in memory, from their first byte until `done`. `held` is their total size in bytes."""

    def __init__(self, most: int = _MOST, patience: float = PATIENCE) -> None:
        """most: total bytes. patience: seconds without data before a body is too slow."""
        self._most, self._patience = most, patience
        self.held = 0

    async def read(self, receive: Receive) -> bytes:
        """Returns the whole body, which counts until `done`.

        Raises TooLarge for more than LARGEST_REQUEST bytes, Overloaded if other bodies hold too much memory,
        TooSlow and CallerLeft.
        """
        taken = 0

        def grow(more: int) -> None:
            nonlocal taken
            if self.held + more > self._most:
                raise Overloaded(
                    f"body: other requests hold {self.held} of {self._most} bytes: retry in 1 s",
                    1,
                )
            self.held += more
            taken += more

        try:
            return await read_body(receive, LARGEST_REQUEST, grow, self._patience)
        except BaseException:
            self.held -= taken
            raise

    def fits(self, body: bytes | memoryview) -> bool:
        """Whether there is room for a body that is released before anything else runs."""
        return self.held + len(body) <= self._most

    def done(self, body: bytes) -> None:
        """Releases a body after its response."""
        self.held -= len(body)
