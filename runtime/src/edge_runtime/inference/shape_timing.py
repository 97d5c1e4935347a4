"""Whether the duration of a run depends on the inputs' shapes only, decided by the file's operators.

The number of iterations of a Loop, for example, is an input's value. The file is read as protobuf here,
because importing onnx takes too long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

ModelSource = bytes | mmap | Path

# The work of these operators, or the size of their outputs, depends on values.
_BY_VALUE: Final = frozenset(
    name.encode()
    for name in (
        *("If", "Loop", "Scan", "SequenceMap", "Optional"),
        *("ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"),
        *("AffineGrid", "CenterCropPad", "Col2Im", "DFT", "MaxUnpool", "MelWeightMatrix", "STFT"),
        *("BlackmanWindow", "HammingWindow", "HannWindow"),
        *("MaxRoiPool", "NonMaxSuppression", "RoiAlign"),
        *("ImageDecoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
        *("Compress", "NonZero", "Unique"),
    )
)
# The same, for values of the inputs from one index to another.
_SIZED_BY: Final[Mapping[bytes, tuple[int, int]]] = {
    **dict.fromkeys((b"Reshape", b"Slice", b"Split", b"Squeeze", b"TopK", b"Unsqueeze"), (1, 5)),
    **dict.fromkeys((b"SequenceAt", b"SequenceErase", b"SequenceInsert", b"SplitToSequence"), (1, 3)),
    **dict.fromkeys((b"GRU", b"LSTM", b"RNN"), (4, 5)),
    b"Attention": (6, 7),
}
_REDUCE: Final = b"Reduce"
_SHAPE: Final = (b"Shape", b"Size")
_RANDOM: Final = (b"Random", b"Bernoulli", b"Multinomial")
_DOMAINS: Final = (b"", b"ai.onnx", b"ai.onnx.ml")  # operators of others are unknown
_MOST: Final = 512  # nodes of a graph that could be short

# Field numbers of ModelProto, GraphProto and NodeProto.
_GRAPH, _FUNCTIONS = 7, 25
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _OP_TYPE, _DOMAIN = 1, 2, 4, 7
_TENSOR_NAME: Final = 8

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_steady(model: ModelSource) -> bool:
    """Whether the shapes of its inputs determine how long the model in a file, or in memory, runs."""
    if not isinstance(model, Path):
        return shapes_determine_duration(model)
    with model.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return shapes_determine_duration(data)


def shapes_determine_duration(model: bytes | mmap) -> bool:
    """Returns False if that is unknown, too: functions, operators of other domains, graphs of many nodes."""
    try:
        return all(_steady(model, number, begin, end) for number, begin, end in _fields(model, 0, len(model)))
    except (IndexError, ValueError):
        return False


def _steady(model: bytes | mmap, number: int, begin: int, end: int) -> bool:
    """Whether a field of the model allows the conclusion."""
    if number == _FUNCTIONS:
        return False
    if number != _GRAPH:
        return True
    nodes: list[tuple[int, int]] = []
    fixed: set[bytes] = set()  # tensors that are the same in each run on inputs of the same shapes
    for field, start, stop in _fields(model, begin, end):
        if field == _NODE:
            nodes.append((start, stop))
            if len(nodes) > _MOST:
                return False
        elif field == _INITIALIZER:
            fixed.update(_first(model, start, stop, _TENSOR_NAME))
    # A node in front of the one that computes its inputs has no known inputs: the result is False.
    return all(_known(model, start, stop, fixed) for start, stop in nodes)


def _known(model: bytes | mmap, begin: int, end: int, fixed: set[bytes]) -> bool:
    """Whether the work of a node depends on shapes only. Adds its constant outputs to `fixed`."""
    kind = domain = b""
    inputs: list[bytes] = []
    outputs: list[bytes] = []
    for number, start, stop in _fields(model, begin, end):
        if number == _OP_TYPE:
            kind = model[start:stop]
        elif number == _DOMAIN:
            domain = model[start:stop]
        elif number in (_INPUT, _OUTPUT):
            (inputs if number == _INPUT else outputs).append(model[start:stop])
    if domain not in _DOMAINS or kind in _BY_VALUE or not _is_fixed(_sizing(kind, inputs), fixed):
        return False
    if kind in _SHAPE or (_is_fixed(inputs, fixed) and not kind.startswith(_RANDOM)):
        fixed.update(outputs)
    return True


def _sizing(kind: bytes, inputs: list[bytes]) -> list[bytes]:
    """The inputs of a node whose values decide about sizes."""
    first, last = _SIZED_BY.get(kind, (1, 2) if kind.startswith(_REDUCE) else (0, 0))
    return inputs[first:last]


def _is_fixed(names: list[bytes], fixed: Collection[bytes]) -> bool:
    return all(not name or name in fixed for name in names)


def _first(data: bytes | mmap, begin: int, end: int, wanted: int) -> Iterator[bytes]:
    """The bytes of a message's first field with this number, if any."""
    for number, start, stop in _fields(data, begin, end):
        if number == wanted:
            yield data[start:stop]
            return


def _fields(data: bytes | mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number, start and end of each length-delimited field."""
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
            raise ValueError(f"a field of wire type {kind}")


def _varint(data: bytes | mmap, at: int) -> tuple[int, int]:
    """A varint, and the position after it."""
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
