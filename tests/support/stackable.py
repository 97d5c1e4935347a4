"""Networks of every kind: those whose items can share a batch and those whose items cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from networks import info, model_of

WIDTH = 64


def _network(
    nodes: Sequence[Any],
    weights: Sequence[Any] = (),
    out: Sequence[int | str] = ("N", WIDTH),
    batch: int | str = "N",
    datatype: str = "FP32",
) -> bytes:
    x, y = info("x", batch, WIDTH, datatype=datatype), info("y", *out, datatype=datatype)
    return model_of(nodes, [x], [y], weights)


def _weight(name: str, *shape: int) -> Any:
    rng = np.random.default_rng(len(shape))
    return numpy_helper.from_array(rng.normal(scale=0.3, size=shape).astype(np.float32), name)


def _numbers(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def dense(batch: int | str = "N") -> bytes:
    """A dense layer and an activation: each row separately."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Tanh", ["h"], ["y"])]
    return _network(nodes, [_weight("w", WIDTH, WIDTH)], (batch, WIDTH), batch)


def two_outputs() -> bytes:
    """Twice the input and its negative: `twice` and `less`."""
    nodes = [helper.make_node("Add", ["x", "x"], ["twice"]), helper.make_node("Neg", ["x"], ["less"])]
    return model_of(nodes, [info("x", "N", WIDTH)], [info(n, "N", WIDTH) for n in ("twice", "less")])


def ids() -> bytes:
    """Rows of a table by index, which must be less than 16: [N, 64] of INT64, doubled after the lookup."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["found"]),
        helper.make_node("Add", ["found", "found"], ["y"]),
    ]
    table = numpy_helper.from_array(np.arange(16, dtype=np.int64), "table")
    return _network(nodes, [table], datatype="INT64")


def normalising() -> bytes:
    """Normalizes by the mean over the batch, like batch norm in training."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    return _network(nodes)


def attending() -> bytes:
    """Attention across the items of the batch."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
        helper.make_node("MatMul", ["shares", "x"], ["y"]),
    ]
    return _network(nodes, [numpy_helper.from_array(np.array(1 / WIDTH, np.float32), "scale")])


def quantising() -> bytes:
    """Quantizes by the range of the whole input."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return _network(nodes)


def folding() -> bytes:
    """Reshapes into a shape for one item only."""
    nodes = [helper.make_node("Reshape", ["x", "one"], ["f"]), helper.make_node("Tanh", ["f"], ["y"])]
    return _network(nodes, [_numbers("one", 1, WIDTH)])


def summing() -> bytes:
    """Sums each row and all those before it."""
    axis = numpy_helper.from_array(np.array(0, np.int64), "axis")
    return _network([helper.make_node("CumSum", ["x", "axis"], ["y"])], [axis])


def overflowing() -> bytes:
    """Ten times each value, minus the mean over the batch."""
    nodes = [
        helper.make_node("Mul", ["x", "ten"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["h", "m"], ["y"]),
    ]
    return _network(nodes, [numpy_helper.from_array(np.array(10.0, np.float32), "ten")])


def drawing() -> bytes:
    """Noise that differs from run to run."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    return _network(nodes)


def picky() -> bytes:
    """Fails if the first value of a row is 2 or more, beyond the table."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["first"]),
        helper.make_node("Cast", ["first"], ["number"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "number"], ["found"]),
        helper.make_node("Squeeze", ["found", "axis"], ["row"]),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    weights = [_numbers("start", 0), _numbers("end", 1), _numbers("axis", 1), _weight("table", 2, WIDTH)]
    return _network(nodes, weights)


def boxes() -> bytes:
    """The nonzero values: as many rows as are found."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Transpose", ["where"], ["rows"], perm=[1, 0]),
        helper.make_node("Cast", ["rows"], ["y"], to=TensorProto.FLOAT),
    ]
    return _network(nodes, out=("found", 2))


def deep(width: int = 1024, layers: int = 6) -> bytes:
    """Dense layers whose weights take longer to read than a row to compute: [N, width] -> [N, width]."""
    rng = np.random.default_rng(2)
    nodes, weights = [], []
    for i in range(layers):
        values = rng.normal(scale=width**-0.5, size=(width, width)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        before, after = "x" if i == 0 else f"h{i}", "y" if i == layers - 1 else f"h{i + 1}"
        nodes.append(helper.make_node("MatMul", [before, f"w{i}"], [after]))
    return model_of(nodes, [info("x", "N", width)], [info("y", "N", width)], weights)
