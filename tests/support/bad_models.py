"""Revisions of a classifier of images that are bad in one way each, and one that is good.

Some are bad only for real images: the inputs that are generated to measure a model are brighter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

SHIFT = 5.0
"""What `shifted` adds to the outputs."""
BRIGHTNESS = 0.45
"""Mean that real images are below, and generated ones, of 0.5, are above."""
CLASSES = 10
WIDTH = 1024
"""Columns of the product by which `slow` takes its time."""


def shifted(model: Path, to: Path, by: float = SHIFT) -> Path:
    """Writes the model with other biases of its classifiers, by which its outputs are greater."""
    proto = onnx.load(model)
    assert _changed(proto, lambda array: array + by, ndim=1), "no classifier has a bias for each class"
    onnx.save(proto, to)
    return to


def permuted(model: Path, to: Path) -> Path:
    """Writes the model with its classes in another order: hardly any answer is right."""
    proto = onnx.load(model)
    assert _changed(proto, _in_another_order, ndim=1)
    assert _changed(proto, _in_another_order, ndim=2)
    onnx.save(proto, to)
    return to


def unloadable(model: Path, to: Path) -> Path:
    """Writes a valid ONNX file with an operator that no inference engine knows."""
    proto = onnx.load(model)
    proto.opset_import.append(helper.make_opsetid("example.org", 1))
    _put_before(proto, [helper.make_node("Unknown", ["image"], ["given"], domain="example.org")])
    onnx.save(proto, to)
    return to


def erring(model: Path, to: Path) -> Path:
    """Writes a model whose runs fail on real images: it looks up the second entry of a table of one."""
    proto = onnx.load(shifted(model, to))
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "table"))
    nodes = [
        *_is_real("real"),
        helper.make_node("Cast", ["real"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Add", ["image", "found"], ["given"]),
    ]
    nodes[0].attribute.append(helper.make_attribute("axes", [1, 2, 3]))
    _put_before(proto, nodes)
    onnx.save(proto, to)
    return to


def slow(model: Path, to: Path, rows: int) -> Path:
    """Writes a model that multiplies a matrix of `rows` rows by another one if the image is real."""
    proto = onnx.load(shifted(model, to))
    constants: dict[str, Array] = {
        "rows": np.array(rows, np.float32),
        "one": np.array([1], np.int64),
        "width": np.array([WIDTH], np.int64),
        "weights": np.zeros((WIDTH, WIDTH), np.float32),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(each, name) for name, each in constants.items())
    value = numpy_helper.from_array(np.ones(1, np.float32), "filled")
    nodes = [
        *_is_real("real"),
        helper.make_node("Cast", ["real"], ["chosen"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["chosen", "rows"], ["count"]),
        helper.make_node("Cast", ["count"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["whole", "one"], ["further"]),
        helper.make_node("Add", ["further", "one"], ["height"]),
        helper.make_node("Concat", ["height", "width"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["matrix"], value=value),
        helper.make_node("MatMul", ["matrix", "weights"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
        helper.make_node("Add", ["image", "sum"], ["given"]),
    ]
    _put_before(proto, nodes)
    onnx.save(proto, to)
    return to


def _is_real(name: str) -> list[NodeProto]:
    """The nodes that tell real images from generated ones."""
    threshold = numpy_helper.from_array(np.array(BRIGHTNESS, np.float32))
    return [
        helper.make_node("ReduceMean", ["image"], ["brightness"], keepdims=1),
        helper.make_node("Constant", [], ["threshold"], value=threshold),
        helper.make_node("Less", ["brightness", "threshold"], [name]),
    ]


def _put_before(proto: ModelProto, nodes: list[NodeProto]) -> None:
    """Has the model take `given`, which the nodes compute from its input."""
    for node in proto.graph.node:
        node.input[:] = ["given" if each == "image" else each for each in node.input]
    own = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *own])


def _in_another_order(array: Array) -> Array:
    return np.roll(array, 1, axis=-1)


def _changed(proto: ModelProto, change: Callable[[Array], Array], ndim: int) -> int:
    """Changes the weights of classifiers with so many dimensions; returns how many."""
    count = 0
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == ndim and tensor.dims[-1] == CLASSES:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
            count += 1
    return count
