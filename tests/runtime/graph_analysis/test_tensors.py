"""The analysis of every tensor of a random graph agrees with onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.graph_analysis.analysis import tensors
from edge_runtime.graph_analysis.reading import AnalyzedModel
from edge_runtime.graph_analysis.sizes import Size
from edge_runtime.graph_analysis.values import Value
from edge_runtime.tensors import Array
from networks import info

SIZES = (1, 2)  # rows of the two requests
UNARY = ("Relu", "Neg", "Softsign", "Shape", "Size", "Flatten")
AXIS = (
    "Softmax",
    "CumSum",
    "ReduceMax",
    "ReduceSum",
    "ArgMax",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Gather",
    "Slice",
)
BINARY = ("Add", "Mul", "MatMul", "Sub", "Where", "Gather", "Reshape", "Expand", "Tile", "Div", "Concat")


class Growing:
    """A graph of two inputs, [N, 2, 3] and [N, 3], to which operators are added as long as they run."""

    def __init__(self, open_: bool) -> None:
        """open_: whether the file leaves the other sizes open, too."""
        self.open = open_
        self.nodes: list[onnx.NodeProto] = []
        self.weights = [
            numpy_helper.from_array(np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32), "w33"),
            numpy_helper.from_array(np.ones((2, 3), np.float32), "w23"),
            numpy_helper.from_array(np.array([-1, 3], np.int64), "s2"),
            numpy_helper.from_array(np.array([0, 3, -1], np.int64), "s3"),
            numpy_helper.from_array(np.array([2, -1, 3], np.int64), "t3"),
            numpy_helper.from_array(np.array([-1], np.int64), "s1"),
            numpy_helper.from_array(np.array([0, 1, -1], np.int64), "k3"),
            numpy_helper.from_array(np.array([-1, 2, 3], np.int64), "b3"),
            numpy_helper.from_array(np.array([1, 2, 1], np.int64), "r3"),
            numpy_helper.from_array(np.array([1, 0], np.int64), "i2"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array(2, np.int64), "two"),
        ]
        self.known = ["x", "z", *(w.name for w in self.weights)]
        rng = np.random.default_rng(5)
        self.feeds = [
            {
                "x": rng.normal(size=(n, 2, 3)).astype(np.float32),
                "z": rng.normal(size=(n, 3)).astype(np.float32),
            }
            for n in SIZES
        ]

    def model(self, nodes: Sequence[onnx.NodeProto]) -> bytes:
        made = [name for node in nodes for name in node.output]
        inner: tuple[int | str, ...] = ("height", "width") if self.open else (2, 3)
        outputs = [onnx.ValueInfoProto(name=name) for name in made]
        graph = helper.make_graph(
            list(nodes), "g", [info("x", "N", *inner), info("z", "N", inner[-1])], outputs, self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return bytes(model.SerializeToString())

    def ran(self, model: bytes) -> list[list[Array]] | None:
        """The outputs for each request, and for both together; None if it does not run alone."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            return [session.run(None, feeds) for feeds in self.feeds]
        except Exception:
            return None

    def together(self, model: bytes) -> list[Array] | None:
        both = {name: np.concatenate([feeds[name] for feeds in self.feeds]) for name in self.feeds[0]}
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            found: list[Array] = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(
                None, both
            )
        except Exception:
            return None
        return found


def candidate(draw: Any, growing: Growing) -> onnx.NodeProto:
    name = f"h{len(growing.nodes)}"
    kind = draw(st.sampled_from([*UNARY, *AXIS, *BINARY, "Transpose"]))
    live = ["x", "z", *(node.output[0] for node in growing.nodes)]
    one = draw(st.sampled_from(live[::-1]))
    other, axis = draw(st.sampled_from([*live[::-1], *growing.known[2:]])), draw(st.integers(-3, 2))
    if draw(st.integers(0, 3)) == 0:
        one, other = other, one
    if kind == "Transpose":
        return helper.make_node(
            kind, [one], [name], perm=draw(st.permutations(range(draw(st.integers(2, 3)))))
        )
    if kind == "CumSum":
        return helper.make_node(kind, [one, "two" if axis == 2 else "one"], [name])
    if kind in ("Squeeze", "Unsqueeze", "ReduceSum") and draw(st.booleans()):
        return helper.make_node(kind, [one, "one"], [name])
    if kind == "Slice":
        return helper.make_node(kind, [one, "one", "i2" if axis == 0 else "one"], [name])
    if kind == "Where":
        growing.nodes.append(helper.make_node("Cast", [one], [f"{name}.c"], to=TensorProto.BOOL))
        return helper.make_node(kind, [f"{name}.c", one, other], [name])
    if kind in ("Concat", "Gather"):
        return helper.make_node(kind, [one, other], [name], axis=axis)
    if kind in ("Softmax", "ArgMax", "Flatten"):
        return helper.make_node(kind, [one], [name], axis=axis)
    if kind == "ReduceMax":
        return helper.make_node(kind, [one], [name], axes=[axis], keepdims=draw(st.integers(0, 1)))
    return helper.make_node(kind, [one, other] if kind in BINARY else [one], [name])


class Sizes:
    """Values of symbolic sizes: unknowns are solved from one tensor and must hold for all."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def are(self, size: Size, rows: int, number: int) -> bool:
        """Whether a size can be this number with this many rows."""
        factor: int = size.number * rows**size.rows
        left = [u for u in size.unknowns if u != "rows"]
        for unknown in list(left):
            if unknown in self._found:
                factor *= self._found[unknown]
                left.remove(unknown)
        if len(left) == 1 and factor:
            self._found[left[0]] = number // factor
            return number % factor == 0
        return bool(left) or factor == number


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_said_of_every_tensor_is_so(data: st.DataObject) -> None:
    growing = Growing(data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(3, 14))):
        before = list(growing.nodes)
        growing.nodes.append(candidate(data.draw, growing))
        if growing.ran(growing.model(growing.nodes)) is None:
            growing.nodes = before
        else:
            growing.known.append(growing.nodes[-1].output[0])
    model = growing.model(growing.nodes)
    alone = growing.ran(model)
    if not growing.nodes or alone is None:
        return
    said = tensors(AnalyzedModel(BytesIO(model), len(model)))
    names = [name for node in growing.nodes for name in node.output]
    joined, sizes = growing.together(model), Sizes()
    for index, name in enumerate(names):
        value = said[name]
        if not isinstance(value, Value):
            continue
        parts = [outputs[index] for outputs in alone]
        for rows, array in zip(SIZES, parts, strict=True):
            assert len(value.shape) == array.ndim, (name, value)
            for told, length in zip(value.shape, array.shape, strict=True):
                assert sizes.are(told, rows, length), (name, value)
            elements = value.elements if value.elements is not None else (None,) * array.size
            for element, number in zip(elements, array.ravel().tolist(), strict=True):
                if element is not None and float(number).is_integer():
                    assert sizes.are(element, rows, int(number)), (name, value)
        if joined is None:
            continue
        if value.axis is not None:
            whole = np.concatenate(parts, axis=value.axis)
            assert whole.shape == joined[index].shape, (name, value)
            np.testing.assert_allclose(whole, joined[index], 1e-4, 1e-5, err_msg=name)
        elif value.common:
            np.testing.assert_array_equal(parts[0], parts[1], err_msg=name)
            np.testing.assert_array_equal(parts[0], joined[index], err_msg=name)
