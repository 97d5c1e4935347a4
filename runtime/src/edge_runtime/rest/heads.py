"""uvicorn's HTTP protocol, with a bound on what stands before a body: it would keep headers without end."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD: Final = 64 << 10
_SENTENCE: Final = (
    f'{{"error":"headers: more than {LARGEST_HEAD} bytes; send fewer or shorter ones"}}'.encode()
)
_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 and closes when a head goes on for more than LARGEST_HEAD bytes after its first packet."""

    _unfinished = False
    _size = 0

    def data_received(self, data: bytes) -> None:
        if self._unfinished:
            self._size += len(data)
            if self._size > LARGEST_HEAD:
                self.transport.write(_REFUSAL)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._unfinished, self._size = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unfinished = False
        super().on_headers_complete()
