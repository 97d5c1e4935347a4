"""uvicorn's HTTP protocol, with bounds on what stands before a body: it would keep headers without end, and
wait for them without end.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD: Final = 64 << 10
PATIENCE: Final = 75.0  # as long as an idle connection is kept
_SENTENCE: Final = (
    f'{{"error":"headers: more than {LARGEST_HEAD} bytes; send fewer or shorter ones"}}'.encode()
)
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 and closes when a head goes on for more than LARGEST_HEAD bytes after its first packet.

    Closes when a connection's first head, or the rest of one, takes longer than PATIENCE seconds; between
    requests uvicorn's own limit holds.
    """

    _unfinished = False
    _size = 0
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit = self.loop.call_later(PATIENCE, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._unfinished:
            self._size += len(data)
            if self._size > LARGEST_HEAD:
                self.transport.write(_REFUSAL)
                self.transport.close()
                return
        super().data_received(data)
        if self._unfinished and self._limit is None:
            self._limit = self.loop.call_later(PATIENCE, self.transport.close)

    def on_message_begin(self) -> None:
        self._unfinished, self._size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unfinished = False
        self._in_time()
        super().on_headers_complete()

    def _in_time(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
