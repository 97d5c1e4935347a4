"""Reads a model whose large weights stay where they are in its file.

In the bytes that `detached` returns, such an initializer has external data: the place of its numbers in the
file. A reader needs memory for the rest only, and onnxruntime maps the weights from the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from edge_runtime.graph_analysis.weight_stripping import Readable, exactly, read_varint, varint

LEAST: Final = 1 << 16
"""Bytes of numbers from which an initializer is detached. Smaller ones can be shapes, which are read."""

_FIXED64, _BYTES, _FIXED32 = 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
# Field numbers in onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_EXTERNAL: Final = 1


class Positioned(Readable, Protocol):
    """A file that knows its position."""

    def tell(self) -> int: ...


def detached(file: Positioned, size: int, location: str, least: int = LEAST) -> bytes:
    """The bytes of a model of `size` bytes with its large initializers at this location.

    Only initializers of the graph whose numbers are raw data; others stay. Raises ValueError for a file that
    is not a protobuf message.
    """
    return b"".join(_message(file, size, (_GRAPH, _INITIALIZER), location, least))


def _message(
    file: Positioned, size: int, path: tuple[int, ...], location: str, least: int
) -> Iterator[bytes]:
    """The fields of a message. path: the numbers of the fields that lead to the initializers."""
    end = file.tell() + size
    raw: tuple[int, int] | None = None
    while file.tell() < end:
        tag, head = read_varint(file)
        field, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, more = read_varint(file)
            if file.tell() + length > end:
                raise ValueError("a field is longer than its message")
            if length >= least and not path and field == _RAW_DATA:
                raw = (file.tell(), length)
                file.seek(length, 1)
            elif length >= least and path and field == path[0]:
                inner = b"".join(_message(file, length, path[1:], location, least))
                yield head + varint(len(inner)) + inner
            else:
                yield head + more + exactly(file, length)
        elif kind in _WIDTHS:
            yield head + exactly(file, _WIDTHS[kind])
        elif kind == 0:
            yield head + read_varint(file)[1]
        else:
            raise ValueError(f"field {field} has the unknown wire type {kind}")
    if file.tell() != end:
        raise ValueError("a field is longer than its message")
    if raw is not None:
        yield _place(location, *raw)


def _place(location: str, offset: int, length: int) -> bytes:
    """The fields of a tensor that say where its data is."""
    entries = {"location": location, "offset": str(offset), "length": str(length)}
    said = b"".join(
        _field(_EXTERNAL_DATA, _field(1, key.encode()) + _field(2, value.encode()))
        for key, value in entries.items()
    )
    return said + varint(_DATA_LOCATION << 3) + varint(_EXTERNAL)


def _field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(content)) + content
