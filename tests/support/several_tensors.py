"""Models with several inputs and outputs, and the cuts at which they can be divided between nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from networks import info, model_of

Array = npt.NDArray[Any]
_RANDOM: Final = np.random.default_rng(13)


@dataclass(frozen=True)
class Several:
    """A model, its outputs, two cuts from the inputs to the outputs, and requests."""

    model: bytes
    outputs: tuple[str, ...]
    cuts: tuple[tuple[str, ...], tuple[str, ...]]
    requests: tuple[Mapping[str, Array], ...] = field(repr=False)


def _constants(**values: Any) -> list[Any]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def voice() -> Several:
    """A recurrent model: frames x, a state whose batch is its second dimension, and a scalar sample rate.

    The state and the rate bypass the first cut; the next state is computed before the second.
    """
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Tanh", ["h"], ["g"]),
        helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["rate", "khz"], ["scale"]),
        helper.make_node("Mul", ["g", "scale"], ["scaled"]),
        helper.make_node("Add", ["state", "scaled"], ["stateN"]),
        helper.make_node("MatMul", ["scaled", "v"], ["output"]),
    ]
    weights = _constants(
        w=_RANDOM.normal(size=(6, 4)).astype(np.float32),
        v=_RANDOM.normal(size=(4, 1)).astype(np.float32),
        khz=np.float32(16000),
    )
    inputs = [info("x", "N", 6), info("state", 2, "N", 4), info("sr", datatype="INT64")]
    outputs = [info("output", "N", 1), info("stateN", 2, "N", 4)]
    requests: list[Mapping[str, Array]] = [
        {
            "x": _RANDOM.normal(size=(rows, 6)).astype(np.float32),
            "state": _RANDOM.normal(size=(2, rows, 4)).astype(np.float32),
            "sr": np.array(rate, np.int64),
        }
        for rows, rate in ((1, 16000), (3, 8000))
    ]
    cuts = ("h", "state", "sr"), ("scaled", "stateN")
    return Several(model_of(nodes, inputs, outputs, weights), ("output", "stateN"), cuts, tuple(requests))


def decoder() -> Several:
    """Appends a step to the past steps, of which there are none at first."""
    nodes = [
        helper.make_node("Mul", ["new", "two"], ["step"]),
        helper.make_node("Add", ["step", "one"], ["next"]),
        helper.make_node("Concat", ["past", "next"], ["present"], axis=2),
        helper.make_node("ReduceSum", ["present", "axes"], ["summed"], keepdims=0),
    ]
    weights = _constants(two=np.float32(2), one=np.float32(1), axes=np.array([2], np.int64))
    inputs = [info("past", "B", 2, "P", 4), info("new", "B", 2, "S", 4)]
    outputs = [info("present", "B", 2, "T", 4), info("summed", "B", 2, 4)]
    requests: list[Mapping[str, Array]] = [
        {
            "past": _RANDOM.normal(size=(1, 2, steps, 4)).astype(np.float32),
            "new": _RANDOM.normal(size=(1, 2, 1, 4)).astype(np.float32),
        }
        for steps in (0, 3)
    ]
    cuts = ("past", "step"), ("past", "next")
    return Several(model_of(nodes, inputs, outputs, weights), ("present", "summed"), cuts, tuple(requests))


def detector() -> Several:
    """The rows of x whose sum is positive, their sums, how many they are, and scores of classes of the image.

    A request may find none. The second cut is behind the detection.
    """
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["a"]),
        helper.make_node("ReduceSum", ["a", "last"], ["sums"], keepdims=0),
        helper.make_node("Greater", ["sums", "zero"], ["hits"]),
        helper.make_node("Reshape", ["hits", "flat"], ["hit"]),
        helper.make_node("Reshape", ["a", "rows"], ["all"]),
        helper.make_node("Compress", ["all", "hit"], ["found"], axis=0),
        helper.make_node("Add", ["found", "one"], ["boxes"]),
        helper.make_node("ReduceSum", ["boxes", "middle"], ["scores"], keepdims=0),
        helper.make_node("Shape", ["found"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["count"]),
        helper.make_node("ReduceSum", ["a", "middle"], ["classes"], keepdims=0),
    ]
    weights = _constants(
        one=np.float32(1), zero=np.float32(0), last=np.array([2], np.int64), middle=np.array([1], np.int64),
        flat=np.array([-1], np.int64), rows=np.array([-1, 6], np.int64), first=np.array(0, np.int64),
    )  # fmt: skip
    outputs = [
        info("boxes", "found", 6),
        info("scores", "found"),
        info("count", datatype="INT64"),
        info("classes", "N", 6),
    ]
    requests: list[Mapping[str, Array]] = []
    for hits in ([0], [2], [0, 0], [1, 3]):
        x = np.full((len(hits), 10, 6), -1, np.float32)
        for item, count in zip(x, hits, strict=True):
            item[:count] = np.arange(1, 7)
        requests.append({"x": x})
    names = ("boxes", "scores", "count", "classes")
    cuts = ("a",), ("found", "a")
    return Several(model_of(nodes, [info("x", "N", 10, 6)], outputs, weights), names, cuts, tuple(requests))


SEVERAL: Final = {"voice": voice(), "decoder": decoder(), "detector": detector()}
