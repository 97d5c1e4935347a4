"""The bytes of a file in pieces, the large ones still in other files, so that writing it needs no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Source = bytes | Path
"""The content of a file: its bytes, or where it is."""

_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes of another file."""

    source: Source
    start: int
    length: int

    def read(self) -> bytes:
        """All of the bytes; fewer than `length` if the file is shorter."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB. Raises OSError."""
        if isinstance(self.source, bytes):
            yield self.source[self.start : self.start + self.length]
            return
        with self.source.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left > 0 and (chunk := file.read(min(left, _AT_ONCE))):
                left -= len(chunk)
                yield chunk


Piece = bytes | Place


def size_of(pieces: Iterable[Piece]) -> int:
    """Bytes of a file of these pieces."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)


def chunks_of(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """The bytes of a file of these pieces. Raises OSError."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from piece.chunks()


def length_of(source: Source) -> int:
    """Bytes of a file."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size
