"""Reads a model without its large constants, so that analysing its graph takes no memory for the weights.

ONNX files are Protocol Buffers: messages of numbered fields, each with its length in front, so a field can be
passed over without being read. What is left out is the data of tensors; their names, types and dimensions
stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

_FROM_HERE: Final = 1
_SMALL: Final = 1 << 10
_LONG: Final = 1 << 16  # bytes of an attribute that is a list of numbers: those of trees
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_LONGEST: Final = 10  # bytes of a number


class Readable(Protocol):
    """A file, or what is read like one."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: Literal[1], /) -> object: ...


@dataclass(frozen=True, slots=True)
class _Message:
    """Fields that hold messages of interest, by number, and those that are data; `dropped` are left out.

    A message ends before the first of its `lists` when it is long.
    """

    inner: Mapping[int, _Message]
    data: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()


# By the numbers in onnx.proto: float_data, int32_data, string_data, int64_data, raw_data, double_data and
# uint64_data.
_TENSOR: Final = _Message({}, frozenset((4, 5, 6, 7, 9, 10, 11)))
_SPARSE: Final = _Message({1: _TENSOR, 2: _TENSOR})
_inner_of_graph: dict[int, _Message] = {5: _TENSOR, 15: _SPARSE}
_GRAPH: Final = _Message(_inner_of_graph, dropped=frozenset((10, 13)))  # doc_string, value_info
# An attribute's t, g, tensors, graphs, sparse_tensor and sparse_tensors; floats, ints and strings.
_ATTRIBUTE: Final = _Message(
    {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}, lists=frozenset((7, 8, 9))
)
_NODE: Final = _Message({5: _ATTRIBUTE}, dropped=frozenset((6,)))
_inner_of_graph[1] = _NODE
_FUNCTION: Final = _Message({7: _NODE})
_MODEL: Final = _Message({7: _GRAPH, 25: _FUNCTION}, dropped=frozenset((6, 14, 20)))


def without_weights(file: Readable, size: int) -> bytes:
    """The bytes of a model of so many bytes; ValueError for what is none."""
    return b"".join(_copied(file, size, _MODEL))


def _copied(file: Readable, size: int, message: _Message) -> Iterator[bytes]:
    left = size
    while left > 0:
        tag, head = _number(file)
        number, kind = tag >> 3, tag & 7
        left -= len(head)
        if number in message.lists and left > _LONG:
            file.seek(left, _FROM_HERE)
            return
        if kind == _BYTES:
            length, more = _number(file)
            left -= len(more) + length
            if left < 0 or length < 0:
                raise ValueError("a field is longer than what it is in")
            yield from _field(file, message, number, head, length)
            continue
        if kind == _VARINT:
            _, value = _number(file)
        elif kind in _WIDTHS:
            value = _exactly(file, _WIDTHS[kind])
        else:
            raise ValueError(f"field {number} is of the unknown kind {kind}")
        left -= len(value)
        if number not in message.data and number not in message.dropped:
            yield head + value
    if left < 0:
        raise ValueError("a field is longer than what it is in")


def _field(file: Readable, message: _Message, number: int, head: bytes, length: int) -> Iterator[bytes]:
    if number in message.dropped or (number in message.data and length > _SMALL):
        file.seek(length, _FROM_HERE)
        return
    inner = message.inner.get(number)
    if inner is not None and length > _SMALL:
        content = b"".join(_copied(file, length, inner))
    else:
        content = _exactly(file, length)
    yield head + _varint(len(content)) + content


def _number(file: Readable) -> tuple[int, bytes]:
    value, found = 0, b""
    while len(found) < _LONGEST:
        byte = _exactly(file, 1)
        value |= (byte[0] & 0x7F) << (7 * len(found))
        found += byte
        if byte[0] < 0x80:
            return value, found
    raise ValueError("a number does not end")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _exactly(file: Readable, size: int) -> bytes:
    found = file.read(size)
    if len(found) != size:
        raise ValueError("it ends in the middle of a field")
    return found
