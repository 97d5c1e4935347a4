"""Models whose outputs have no batch: detections, their number, or nothing.

Each reads x [N, 10, 6] and can be cut at two tensors, a and b.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper, numpy_helper

from networks import info, model_of

_ROWS: Final = (10, 6)
_CONSTANTS: Final = {
    "one": np.float32(1),
    "zero": np.float32(0),
    "last": np.array([2], np.int64),
    "middle": np.array([1], np.int64),
    "flat": np.array([-1], np.int64),
    "rows": np.array([-1, 6], np.int64),
    "none": np.array([0], np.int64),
}


def _found(outputs: str = "y") -> list[NodeProto]:
    return [
        helper.make_node("ReduceSum", ["b", "last"], ["sums"], keepdims=0),
        helper.make_node("Greater", ["sums", "zero"], ["hits"]),
        helper.make_node("Reshape", ["hits", "flat"], ["hit"]),
        helper.make_node("Reshape", ["b", "rows"], ["all"]),
        helper.make_node("Compress", ["all", "hit"], [outputs], axis=0),
    ]


# By name: the part after b, and the declared shape of the output y.
KINDS: Final[dict[str, tuple[list[NodeProto], list[int | str], str]]] = {
    "a row for each": ([helper.make_node("ReduceSum", ["b", "middle"], ["y"], keepdims=0)], ["N", 6], "FP32"),
    "boxes": (_found(), ["boxes", 6], "FP32"),
    "boxes called as the batch": (_found(), ["N", 6], "FP32"),
    "words": (
        [*_found("f"), helper.make_node("Cast", ["f"], ["y"], to=8)],
        ["boxes", 6],
        "BYTES",
    ),
    "places": (
        [*_found("f"), helper.make_node("NonZero", ["f"], ["y"])],
        [2, "found"],
        "INT64",
    ),
    "a scalar": ([helper.make_node("ReduceMax", ["b"], ["y"], keepdims=0)], [], "FP32"),
    "ten rows for each": ([helper.make_node("Reshape", ["b", "rows"], ["y"])], ["rows", 6], "FP32"),
    "nothing for each": (
        [helper.make_node("Slice", ["b", "none", "none", "middle"], ["y"])],
        ["N", 0, 6],
        "FP32",
    ),
}


def counting(kind: str, exits: bool = False) -> bytes:
    """The model of a kind; with `exits`, its metadata declares y as an exit."""
    nodes, shape, datatype = KINDS[kind]
    before = [
        helper.make_node("Mul", ["x", "one"], ["a"]),
        helper.make_node("Add", ["a", "zero"], ["b"]),
    ]
    constants = [numpy_helper.from_array(np.asarray(v), name) for name, v in _CONSTANTS.items()]
    listed = [{"name": "full", "output": "y", "accuracy": 0.9}] if exits else []
    x, y = info("x", "N", *_ROWS), info("y", *shape, datatype=datatype)
    return model_of([*before, *nodes], [x], [y], constants, listed)


def several() -> bytes:
    """All kinds in one model: each output is named by its index."""
    nodes, outputs = [], []
    for place, (own, shape, datatype) in enumerate(KINDS.values()):
        for node in own:
            renamed = NodeProto()
            renamed.CopyFrom(node)
            for names in (renamed.input, renamed.output):
                for i, name in enumerate(names):
                    names[i] = name if name == "b" or name in _CONSTANTS else f"{name}{place}"
            nodes.append(renamed)
        outputs.append(info(f"y{place}", *shape, datatype=datatype))
    before = [helper.make_node("Mul", ["x", "one"], ["b"])]
    constants = [numpy_helper.from_array(np.asarray(v), name) for name, v in _CONSTANTS.items()]
    return model_of([*before, *nodes], [info("x", "N", *_ROWS)], outputs, constants)


def picture(batch: int, hits: list[int]) -> npt.NDArray[Any]:
    """An x in which so many rows are found in each item of the batch."""
    x = np.full((batch, *_ROWS), -1, np.float32)
    for item, count in zip(x, hits, strict=True):
        item[:count] = np.arange(1, 7)
    return x
