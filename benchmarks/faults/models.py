"""The example's model changed in ways that make it another, or a bad, revision."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from benchmarks.faults.ground import Ground
from edge_planning.declared_exits import EXITS_KEY

_ADDED: Final = "added"
_IMAGE: Final = "image"
_CLASSES: Final = 10
# Means of the example's images; generated inputs have 0.5, and the first runs of a slice zeros.
_MEANS: Final = (0.1, 0.45)
_CHANNELS: Final = 64
_CONVOLUTIONS: Final = 16
_LOW: Final = 0.01
"""What the first exit of an inaccurate model declares; each further one declares as much more."""
_HUNGRY: Final = 100_000_000
"""Numbers in the tensor of a model that fills memory: 400 MB."""

Change = Callable[[onnx.ModelProto], None]


def variant(ground: Ground, name: str, change: Change | None = None) -> Path:
    """Writes the example's model with one weight and what `change` does changed, so that no slice of it is
    one of the example's. Returns the file.
    """
    model = onnx.load(ground.model)
    weight = model.graph.initializer[0]
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1e-3 * (1 + len(name))
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    if change is not None:
        change(model)
    path = Path(tempfile.mkdtemp(prefix="faults-")) / f"{name}.onnx"
    onnx.save(model, path)
    return path


def failing(model: onnx.ModelProto) -> None:
    """Fails on images like those of clients, and runs on zeros and on generated inputs."""
    low, high = _MEANS
    _before(
        model,
        [
            helper.make_node("ReduceMean", [_IMAGE], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Greater", ["mean", "low"], ["above"]),
            helper.make_node("Less", ["mean", "high"], ["below"]),
            helper.make_node("And", ["above", "below"], ["real"]),
            helper.make_node("Cast", ["real"], ["number"], to=TensorProto.INT64),
            helper.make_node("Mul", ["number", "outside"], ["index"]),
            helper.make_node("Gather", ["table", "index"], ["found"], axis=0),
            helper.make_node("Add", [_IMAGE, "found"], [_ADDED]),
        ],
        low=np.float32(low),
        high=np.float32(high),
        outside=np.int64(1000),
        table=np.zeros(1, np.float32),
    )


def slow(model: onnx.ModelProto) -> None:
    """Computes many convolutions, whose result is multiplied by zero, before the example's layers."""
    random = np.random.default_rng(1)
    names = [_IMAGE, *(f"wide{i}" for i in range(_CONVOLUTIONS))]
    inside = random.normal(0, 0.04, (_CHANNELS, _CHANNELS, 3, 3)).astype(np.float32)
    first = random.normal(0, 0.1, (_CHANNELS, 1, 3, 3)).astype(np.float32)
    convolutions = [
        helper.make_node("Conv", [a, "first" if a == _IMAGE else "inside"], [b], pads=[1, 1, 1, 1])
        for a, b in pairwise(names)
    ]
    _before(
        model,
        [
            *convolutions,
            helper.make_node("Conv", [names[-1], "last"], ["narrow"]),
            helper.make_node("Add", [_IMAGE, "narrow"], [_ADDED]),
        ],
        first=first,
        inside=inside,
        last=np.zeros((1, _CHANNELS, 1, 1), np.float32),
    )


def crashing(model: onnx.ModelProto) -> None:
    """Leaves out an output of Split, for which onnxruntime writes to an invalid address."""
    _before(
        model,
        [
            helper.make_node("Split", [_IMAGE, "sizes"], ["", "lower"], axis=2),
            helper.make_node("ReduceMean", ["lower"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
            helper.make_node("Add", [_IMAGE, "zero"], [_ADDED]),
        ],
        sizes=np.array([64, 64], np.int64),
        nothing=np.float32(0),
    )


def inaccurate(model: onnx.ModelProto) -> None:
    """Exchanges the classes of every exit, and declares accuracies that are as low.

    The model store refuses a file that is far less accurate than it declares.
    """
    for prop in model.metadata_props:
        if prop.key == EXITS_KEY:
            exits = json.loads(prop.value)
            low = [exit_ | {"accuracy": _LOW * number} for number, exit_ in enumerate(exits, 1)]
            prop.value = json.dumps(low)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if _CLASSES in values.shape and values.ndim <= 2:
            rolled = np.roll(values, 1, axis=values.shape.index(_CLASSES))
            tensor.CopyFrom(numpy_helper.from_array(rolled, tensor.name))


def different(model: onnx.ModelProto) -> None:
    """Takes an input of another name."""
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        node.input[:] = ["picture" if name == _IMAGE else name for name in node.input]


def hungry(model: onnx.ModelProto) -> None:
    """Fills 400 MB of memory when it is loaded or run."""
    _before(
        model,
        [
            helper.make_node("ConstantOfShape", ["many"], ["zeros"]),
            helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Add", [_IMAGE, "zero"], [_ADDED]),
        ],
        many=np.array([_HUNGRY], np.int64),
    )


def _before(
    model: onnx.ModelProto, nodes: Sequence[NodeProto], **constants: npt.NDArray[np.generic] | np.generic
) -> None:
    """Inserts nodes before the others, which then take `added` in place of the image."""
    for node in model.graph.node:
        node.input[:] = [_ADDED if name == _IMAGE else name for name in node.input]
    own = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *own])
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
