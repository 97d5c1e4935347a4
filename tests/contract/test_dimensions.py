"""Slicing, metadata and planner agree with onnxruntime on the shapes, bytes and cuts of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import onnx
from hypothesis import given, note, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edge_planning.graphs.onnx_reading import read_model
from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.model_metadata import metadata_of
from edge_runtime.slicing import Graph
from networks import AS_WRITTEN, OPTIMIZED, Array, run

WIDTH = 4
BATCHES = (1, 2, 3, 7)
END = 2**63 - 1
STEPS = [
    *("relu", "linear", "double", "more", "first", "every", "backwards", "mean", "shift"),
    *("found", "fold", "exported", "turned", "contrib", "declared"),
]


@dataclass
class Drawing:
    """A model under construction; the current tensor of every step has rows of four numbers."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    declared: list[ValueInfoProto] = field(default_factory=list)

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def numbers(self, *values: int) -> str:
        return self._weight(np.array(values, np.int64))

    def _weight(self, value: Array) -> str:
        self.weights[name := f"w{len(self.weights)}"] = value
        return name

    def step(self, kind: str, x: str, k: int) -> str:
        match kind:
            case "relu":
                return self.node("Relu", x)
            case "linear":
                rng = np.random.default_rng(len(self.nodes))
                return self.node(
                    "MatMul", x, self._weight(rng.normal(size=(WIDTH, WIDTH)).astype(np.float32))
                )
            case "double":
                return self.node("Concat", x, x, axis=0)
            case "more":
                return self.node("Concat", x, self._weight(np.ones((k, WIDTH), np.float32)), axis=0)
            case "first":
                return self._slice(x, 0, k, 1)
            case "every":
                return self._slice(x, 0, END, k)
            case "backwards":
                return self._slice(x, -1, -END, -1)
            case "mean":
                return self.node("ReduceMean", x, axes=[0], keepdims=1)
            case "shift":
                return self.node("Sub", x, self.step("mean", x, k))
            case "found":
                total = self.node("ReduceSum", x, self.numbers(1), keepdims=0)
                hit = self.node("Greater", total, self._weight(np.array(k - 2, np.float32)))
                return self.node("Compress", x, hit, axis=0)
            case "fold":
                return self.node("Reshape", self.node("Reshape", x, self.numbers(-1, 2)), self.numbers(-1, 4))
            case "exported":
                rows = self.node("Gather", self.node("Shape", x), self.numbers(0), axis=0)
                halves = self.node("Concat", rows, self.numbers(2, 2), axis=0)
                return self.node("Reshape", self.node("Reshape", x, halves), self.numbers(0, WIDTH))
            case "turned":
                return self.node("Transpose", self.node("Tanh", self.node("Transpose", x)))
            case "contrib":
                return self.node("Gelu", x, domain="com.microsoft")
            case _:
                made = self.node("Gelu", x, domain="com.microsoft")
                rows = "N" if x == "x" else f"of {made}"
                self.declared.append(helper.make_tensor_value_info(made, 1, [rows, WIDTH]))
                return made

    def _slice(self, x: str, start: int, end: int, step: int) -> str:
        return self.node("Slice", x, *map(self.numbers, (start, end, 0, step)))


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    """A chain of steps from x, with the batch in one of its spellings, in a file without optional parts."""
    drawing = Drawing()
    tensor = "x"
    for _ in range(draw(st.integers(1, 5))):
        tensor = drawing.step(draw(st.sampled_from(STEPS)), tensor, draw(st.integers(1, 5)))
    y = drawing.node("Neg", drawing.node("Exp", tensor))
    batch = draw(st.sampled_from(["N", "2*N + 1", None, -1, -7, 3]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])]
    outputs = [
        helper.make_tensor_value_info(y, TensorProto.FLOAT, [draw(st.sampled_from(["N", None, -1])), 4])
    ]
    loose = draw(st.sampled_from(["", "shape", "type"]))
    if loose == "shape":
        outputs[0].type.tensor_type.ClearField("shape")
    elif loose == "type":
        outputs[0].ClearField("type")
    weights = [numpy_helper.from_array(value, name) for name, value in drawing.weights.items()]
    if draw(st.booleans()):
        constant = numpy_helper.from_array(np.ones(2, np.float32), "constant")
        weights.append(constant)
        more = ("constant", "x", y)
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in more]
    nodes = draw(st.permutations(drawing.nodes)) if draw(st.booleans()) else drawing.nodes
    lies = [helper.make_tensor_value_info(n.output[0], 1, ["N", 4]) for n in nodes if n.op_type == "Relu"]
    graph = helper.make_graph(nodes, "odd", inputs, outputs, weights, value_info=[*drawing.declared, *lies])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def everything(model: ModelProto, x: Array) -> dict[str, Array]:
    """Every tensor of the model, computed by onnxruntime."""
    wide = ModelProto()
    wide.CopyFrom(model)
    del wide.graph.output[:], wide.graph.value_info[:]
    wide.graph.output.extend(ValueInfoProto(name=n.output[0]) for n in model.graph.node)
    return run(wide.SerializeToString(), {"x": x}) | {"x": x}


def runs(model: ModelProto) -> Iterator[tuple[int, dict[str, Array]]]:
    """The model's results at several batches, or at its own."""
    (first, _) = model.graph.input[0].type.tensor_type.shape.dim
    for batch in (3,) if first.dim_value == 3 else BATCHES:
        x = np.random.default_rng(batch).normal(size=(batch, WIDTH)).astype(np.float32)
        yield batch, everything(model, x)


def names_of(data: bytes) -> dict[tuple[str, int], str]:
    """The names of open dimensions at a slice's ends."""
    graph = onnx.load_model_from_string(data).graph
    return {
        (value.name, axis): dim.dim_param
        for value in (*graph.input, *graph.output)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.dim_param
    }


@settings(max_examples=120, deadline=None, derandomize=True)
@given(models())
def test_what_is_read_of_a_file_is_what_onnxruntime_does_with_it(model: ModelProto) -> None:
    note(onnx.printer.to_text(model))
    data = model.SerializeToString()
    output = model.graph.output[0].name
    graph = Graph(data)
    planned = read_model(data, name="odd")
    cuts = {cut.tensors: cut.bytes for cut in graph.cuts([output])}
    exits = [{"name": "final", "output": output, "accuracy": 0.9}]
    if _is_known(graph, output):
        (described,) = metadata_of(graph, len(data), exits).document()["exits"]
        assert {tuple(cut["tensors"]): cut["bytes"] for cut in described["cuts"]} == cuts
    (exit_,) = (exit_ for exit_ in planned.exits if exit_.outputs == (output,))
    plan = {cut.tensors: cut.size for cut in exit_.cuts}
    assert plan.items() >= cuts.items()
    for batch, values in runs(model):
        for (name,), size in plan.items():
            assert values[name].nbytes == (
                size if batch == 3 and graph.tensor("x").shape[0] == 3 else batch * size
            )
        for name, value in values.items():
            if not _is_known(graph, name):
                assert (name,) not in plan
                continue
            known = graph.tensor(name)
            assert len(known.shape) == value.ndim
            assert all(want in (-1, size) for want, size in zip(known.shape, value.shape, strict=True))
        for name in values:
            if not (name == "x" or name == output):
                _compose(graph, name, output, values)
    assert all(size > 0 for size in plan.values())


def _is_known(graph: Graph, name: str) -> bool:
    try:
        graph.tensor(name)
    except UnknownTensor:
        return False
    return True


def _compose(graph: Graph, name: str, output: str, values: dict[str, Array]) -> None:
    """The slices before and after a tensor, if it separates, load, run and give the results of the whole."""
    try:
        head, tail = graph.slice(["x"], [name]), graph.slice([name], [output])
    except (BadRequest, UnknownTensor):
        return
    for data, start, end in ((head, "x", name), (tail, name, output)):
        for level in (AS_WRITTEN, OPTIMIZED):
            result = run(data, {start: values[start]}, level)[end]
            np.testing.assert_allclose(result, values[end], rtol=1e-4, atol=1e-4)
        for (one, first), (two, second) in combinations(names_of(data).items(), 2):
            if first == second:
                assert values[one[0]].shape[one[1]] == values[two[0]].shape[two[1]]
