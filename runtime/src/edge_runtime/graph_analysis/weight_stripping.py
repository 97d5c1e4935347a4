"""Reads a model without its large constants, so that the analysis needs no memory for weights.

ONNX files are Protocol Buffers: messages of numbered fields, each prefixed by its length, so that a field can
be skipped without reading it. The data of tensors is skipped; names, types and dimensions stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

_FROM_HERE: Final = 1
_SMALL: Final = 1 << 10
_LONG: Final = 1 << 16  # bytes; attributes with longer lists of numbers are skipped, such as those of trees
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_LONGEST: Final = 10  # bytes of a varint


class Readable(Protocol):
    """A file or a file-like object."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: Literal[1], /) -> object: ...


@dataclass(frozen=True, slots=True)
class _Message:
    """Fields that contain messages of interest, by number; fields with data; `dropped` fields.

    A long message is truncated before the first of its `lists`.
    """

    inner: Mapping[int, _Message]
    data: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()


# Field numbers in onnx.proto: float_data, int32_data, string_data, int64_data, raw_data, double_data and
# uint64_data.
_TENSOR: Final = _Message({}, frozenset((4, 5, 6, 7, 9, 10, 11)))
_SPARSE: Final = _Message({1: _TENSOR, 2: _TENSOR})
_inner_of_graph: dict[int, _Message] = {5: _TENSOR, 15: _SPARSE}
_GRAPH: Final = _Message(_inner_of_graph, dropped=frozenset((10, 13)))  # doc_string, value_info
# t, g, tensors, graphs, sparse_tensor and sparse_tensors of an attribute; floats, ints and strings.
_ATTRIBUTE: Final = _Message(
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}, lists=frozenset((7, 8, 9))
)
_NODE: Final = _Message({5: _ATTRIBUTE}, dropped=frozenset((6,)))
_inner_of_graph[1] = _NODE
_FUNCTION: Final = _Message({7: _NODE})
_MODEL: Final = _Message({7: _GRAPH, 25: _FUNCTION}, dropped=frozenset((6, 14, 20)))


def without_weights(file: Readable, size: int) -> bytes:
    """Returns the bytes of a model of `size` bytes without its weights.

    Raises ValueError if it is not one.
    """
    return b"".join(_copied(file, size, _MODEL))


def _copied(file: Readable, size: int, message: _Message) -> Iterator[bytes]:
    left = size
    while left > 0:
        tag, head = read_varint(file)
        number, kind = tag >> 3, tag & 7
        left -= len(head)
        if number in message.lists and left > _LONG:
            file.seek(left, _FROM_HERE)
            return
        if kind == _BYTES:
            length, more = read_varint(file)
            left -= len(more) + length
            if left < 0 or length < 0:
                raise ValueError("a field is longer than its message")
            yield from _field(file, message, number, head, length)
            continue
        if kind == _VARINT:
            _, value = read_varint(file)
        elif kind in _WIDTHS:
            value = exactly(file, _WIDTHS[kind])
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        left -= len(value)
        if number not in message.data and number not in message.dropped:
            yield head + value
    if left < 0:
        raise ValueError("a field is longer than its message")


def _field(file: Readable, message: _Message, number: int, head: bytes, length: int) -> Iterator[bytes]:
    if number in message.dropped or (number in message.data and length > _SMALL):
        file.seek(length, _FROM_HERE)
        return
    inner = message.inner.get(number)
    if inner is not None and length > _SMALL:
        content = b"".join(_copied(file, length, inner))
    else:
        content = exactly(file, length)
    yield head + varint(len(content)) + content


def read_varint(file: Readable) -> tuple[int, bytes]:
    """The next number and its bytes. Raises ValueError."""
    value, found = 0, b""
    while len(found) < _LONGEST:
        byte = exactly(file, 1)
        value |= (byte[0] & 0x7F) << (7 * len(found))
        found += byte
        if byte[0] < 0x80:
            return value, found
    raise ValueError("a varint is too long")


def varint(value: int) -> bytes:
    """The bytes of a number."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def exactly(file: Readable, size: int) -> bytes:
    """The next bytes. Raises ValueError if there are fewer."""
    found = file.read(size)
    if len(found) != size:
        raise ValueError("truncated in the middle of a field")
    return found
