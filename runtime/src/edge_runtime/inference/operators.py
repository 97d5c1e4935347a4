"""Whether the inputs' shapes alone decide how long a model's runs take, by the operators in its file.

A Loop goes round as often as an input says. The file is read as protobuf here: onnx takes too long to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

# Their work, or the size of what they make, depends on values.
_BY_VALUE: Final = frozenset(
    name.encode()
    for name in (
        *("If", "Loop", "Scan", "SequenceMap", "Optional"),
        *("ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"),
        *("AffineGrid", "CenterCropPad", "Col2Im", "DFT", "MaxUnpool", "MelWeightMatrix", "STFT"),
        *("BlackmanWindow", "HammingWindow", "HannWindow"),
        *("MaxRoiPool", "NonMaxSuppression", "RoiAlign"),
        *("ImageDecoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
    )
)
_DOMAINS: Final = (b"", b"ai.onnx", b"ai.onnx.ml")  # of others nothing is known
_MOST: Final = 512  # a graph of more nodes is not a short one

# Fields of ModelProto, GraphProto and NodeProto.
_GRAPH, _FUNCTIONS = 7, 25
_NODE: Final = 1
_OP_TYPE, _DOMAIN = 4, 7

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def takes_as_long_as_its_shapes_say(model: bytes | mmap) -> bool:
    """False also for what is not known: functions, other makers' operators, graphs of many nodes."""
    try:
        return all(_steady(model, number, begin, end) for number, begin, end in _fields(model, 0, len(model)))
    except (IndexError, ValueError):
        return False


def _steady(model: bytes | mmap, number: int, begin: int, end: int) -> bool:
    """Whether a field of the model is no reason to doubt."""
    if number == _FUNCTIONS:
        return False
    if number != _GRAPH:
        return True
    count = 0
    for field, start, stop in _fields(model, begin, end):
        if field == _NODE:
            count += 1
            if count > _MOST or not _known(model, start, stop):
                return False
    return True


def _known(model: bytes | mmap, begin: int, end: int) -> bool:
    """Whether the work of a node depends on shapes alone."""
    kind = domain = b""
    for number, start, stop in _fields(model, begin, end):
        if number == _OP_TYPE:
            kind = model[start:stop]
        elif number == _DOMAIN:
            domain = model[start:stop]
    return domain in _DOMAINS and kind not in _BY_VALUE


def _fields(data: bytes | mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number of each field that holds bytes, and from where to where they lie."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at)
            yield tag >> 3, at, at + size
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of kind {kind}")


def _varint(data: bytes | mmap, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        more = data[at]
        at += 1
        value |= (more & 0x7F) << shift
        if more < 0x80:
            return value, at
        shift += 7
