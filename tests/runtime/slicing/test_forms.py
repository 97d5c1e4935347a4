"""Graphs of unusual form: subgraphs, functions, shared constants, other domains, open sizes, random draws."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from edge_runtime.errors import BadRequest, UnknownTensor
from edge_runtime.slicing import Graph
from messages import mentions
from networks import AS_WRITTEN, Array, run

X = np.random.default_rng(4).normal(size=(2, 4)).astype(np.float32)

INNER = """
< ir_version: 9, opset_import: ["" : 17] >
inner (float[N, 4] x) => (float[N, 4] y)
< float[4] w = {1, 2, 3, 4}, float half = {0.5}, float[N, 4] c, float[N, 4] d >
{
  a = Add(x, w)
  total = ReduceSum <keepdims = 0> (a)
  nothing = Constant <value = float {0}> ()
  up = Greater(total, nothing)
  b = If (up) <
    then_branch = yes () => (float[N, 4] p) { p = Mul(a, w) },
    else_branch = no () => (float[N, 4] q) { scaled = Mul(a, half) q = Sub(scaled, x) }
  >
  times = Constant <value = int64 {3}> ()
  go = Constant <value = bool {1}> ()
  c = Loop (times, go, b) <
    body = step (int64 i, bool on, float[N, 4] carried) => (bool still, float[N, 4] next)
      { still = Identity(on) more = Mul(carried, half) next = Add(more, a) }
  >
  d = Tanh(c)
  y = Add(d, w)
}
"""
FUNCTIONS = """
< ir_version: 9, opset_import: ["" : 17, "mine" : 1] >
calling (float[N, 4] x) => (float[N, 4] y)
{
  a = mine.twice(x)
  b = Relu(a)
  c = mine.thrice(b)
  y = mine.unused_here(c)
}
< domain: "mine", opset_import: ["" : 17] >
twice (v) => (r) { r = Add(v, v) }
< domain: "mine", opset_import: ["" : 17, "mine" : 1] >
thrice (v) => (r) { t = mine.twice(v) r = Add(t, v) }
< domain: "mine", opset_import: ["" : 17] >
unused_here (v) => (r) { r = Neg(v) }
"""
SHARED = """
< ir_version: 9, opset_import: ["" : 17] >
shared (float[N, 4] x) => (float[N, 2] y)
< float[4, 4] w = {1, 0, 0, 2, 0, 1, 0, 0, 3, 0, 1, 0, 0, 0, 0, 1} >
{
  pair = Constant <value = int64[2] {4, 2}> ()
  ones = ConstantOfShape <value = float[1] {1}> (pair)
  turned = Transpose <perm = [1, 0]> (w)
  a = MatMul(x, turned)
  b = Tanh(a)
  c = MatMul(b, turned)
  d = MatMul(c, w)
  e = Add(d, a)
  y = MatMul(e, ones)
}
"""
RESHAPING = """
< ir_version: 9, opset_import: ["" : 17] >
reshaping (float[N, 4] x) => (float[N, 2, 2] y)
{
  shape = Shape <end = 1> (x)
  rest = Constant <value = int64[2] {2, 2}> ()
  target = Concat <axis = 0> (shape, rest)
  a = Tanh(x)
  b = Sin(a)
  y = Reshape(b, target)
}
"""
DRAWING = """
< ir_version: 9, opset_import: ["" : 17] >
drawing (float[N, 4] x) => (float[N, 4] y)
{
  noise = RandomNormal <shape = [1, 4]> ()
  a = Add(x, noise)
  b = Tanh(a)
  c = Add(b, noise)
  y = Neg(c)
}
"""


def _bytes(text: str) -> bytes:
    model = parser.parse_model(text)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _composes(data: bytes, cut: list[str], feeds: dict[str, Array], output: str = "y") -> Graph:
    graph = Graph(data)
    whole = run(data, feeds)[output]
    middle = run(graph.slice(list(feeds), cut), feeds, AS_WRITTEN)
    result = run(graph.slice(cut, [output]), middle, AS_WRITTEN)[output]
    assert np.ptp(whole) > 0
    assert result.tobytes() == whole.tobytes()
    return graph


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("cut", [["a", "x"], ["b", "a"], ["c"], ["d"]])
def test_inner_graphs_take_along_what_they_capture(cut: list[str], sign: int) -> None:
    _composes(_bytes(INNER), cut, {"x": sign * 5 * np.abs(X)})


def test_a_tensor_that_only_an_inner_graph_reads_belongs_to_the_cut() -> None:
    graph = Graph(_bytes(INNER))
    with pytest.raises(UnknownTensor, match=mentions("a", "y from x", "x -> b -> c")):
        graph.slice(["a"], ["y"])
    assert [c.tensors for c in graph.cuts(["y"])] == [("x",), ("d",)]  # Tanh is fused


def test_a_tensor_of_unknown_shape_is_refused_as_a_cut() -> None:
    graph = Graph(_bytes(INNER.replace(", float[N, 4] c, float[N, 4] d", "")))
    with pytest.raises(UnknownTensor, match='"c": '):
        graph.slice(["x"], ["c"])
    assert [c.tensors for c in graph.cuts(["y"])] == [("x",)]


def test_slices_hold_the_functions_that_they_call_and_no_others() -> None:
    for cut in (["a"], ["b"], ["c"]):
        graph = _composes(_bytes(FUNCTIONS), cut, {"x": X})
    called = {
        cut: {f.name for f in onnx.load_model_from_string(graph.slice([cut], ["y"])).functions}
        for cut in ("b", "c")
    }
    assert called == {"b": {"twice", "thrice", "unused_here"}, "c": {"unused_here"}}


@pytest.mark.parametrize("cut", [["a"], ["b", "a"], ["c", "a"], ["e"]])
def test_constants_that_both_sides_need_are_in_both(cut: list[str]) -> None:
    graph = _composes(_bytes(SHARED), cut, {"x": X})
    if cut == ["b", "a"]:
        both = [
            onnx.load_model_from_string(data) for data in (graph.slice(["x"], cut), graph.slice(cut, ["y"]))
        ]
        assert all("turned" in {o for n in part.graph.node for o in n.output} for part in both)
        assert [i.name for part in both for i in part.graph.initializer] == ["w", "w"]


def test_a_shape_that_is_read_behind_the_cut_belongs_to_it() -> None:
    data = _bytes(RESHAPING)
    with pytest.raises(UnknownTensor, match="shape"):
        Graph(data).slice(["a"], ["y"])
    graph = _composes(data, ["a", "shape"], {"x": X})
    assert graph.tensor("y").shape == (-1, 2, 2)
    assert [c.tensors for c in graph.cuts(["y"])] == [("x",)]


def test_operators_of_other_domains_are_cut_where_the_file_says_their_shapes() -> None:
    nodes = [
        helper.make_node("Gelu", ["x"], ["a"], domain="com.microsoft"),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("Tanh", ["b"], ["y"]),
    ]
    x, a, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xay")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_graph(nodes, "two", [x], [y], value_info=[a])
    data = helper.make_model(made, opset_imports=imports, ir_version=9).SerializeToString()
    graph = _composes(data, ["a", "x"], {"x": X})
    assert graph.tensor("a").shape == (-1, 4)
    slice_ = onnx.load_model_from_string(graph.slice(["x"], ["a"]))
    assert {(o.domain, o.version) for o in slice_.opset_import} == {("", 17), ("com.microsoft", 1)}


def test_sizes_besides_the_batch_may_be_open_in_a_slice() -> None:
    text = """
    < ir_version: 9, opset_import: ["" : 17] >
    long (float[N, T, 4] x) => (float[N, 4] y)
    {
      a = Tanh(x)
      b = ReduceMean <axes = [1], keepdims = 0> (a)
      y = Neg(b)
    }
    """
    graph = _composes(_bytes(text), ["a"], {"x": np.ones((2, 7, 4), np.float32) * X[:, None, :]})
    assert graph.tensor("a").shape == (-1, -1, 4)
    with pytest.raises(BadRequest, match=mentions("input x", "dimension 1 (T)")):
        graph.cuts(["y"])


def test_weights_of_old_files_that_are_also_inputs_are_not_inputs_of_a_slice() -> None:
    w = numpy_helper.from_array(np.eye(4, dtype=np.float32) * 2, "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
    wide = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4])
    made = helper.make_graph(nodes, "old", [x, wide], [y], [w])
    old = helper.make_model(made, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    graph = _composes(old.SerializeToString(), ["a"], {"x": X})
    slice_ = onnx.load_model_from_string(graph.slice(["a"], ["y"]))
    onnx.checker.check_model(slice_)
    assert [i.name for i in slice_.graph.input] == ["a"]


def test_what_is_drawn_at_random_is_not_drawn_twice() -> None:
    graph = Graph(_bytes(DRAWING))
    with pytest.raises(UnknownTensor, match=mentions("noise", "b")):
        graph.slice(["b"], ["y"])
    assert [c.tensors for c in graph.cuts(["y"], 2)] == [("x",), ("c",)]  # the noise has no batch
    values = run(graph.slice(["x"], ["b", "noise"]), {"x": X})
    result = run(graph.slice(["b", "noise"], ["y"]), values)["y"]
    np.testing.assert_array_equal(result, -(values["b"] + values["noise"]))


def test_an_invalid_cut_is_refused_with_the_tensors_that_bypass_it(residual_model: bytes) -> None:
    graph = Graph(residual_model)
    with pytest.raises(
        UnknownTensor,
        match=mentions(
            "inputs: bent1", "logits from image", "image -> stem -> sum1 -> ... -> flat -> logits"
        ),
    ):
        graph.slice(["bent1"], ["logits"])


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (["pool2"], ["pool1"], "inputs: pool2 is computed from pool1"),
        (["pool2"], ["pool1"], "pool1: swap them"),
        (["pool1", "image"], ["logits"], "inputs: image"),
        (["pool1", "pool1"], ["logits"], 'inputs: "pool1" is named twice'),
        (["pool1"], [], "outputs: no tensors"),
        (["w1"], ["logits"], '"w1" is a constant'),
        (["pool1"], ["w2"], '"w2" is a constant'),
        (["pool1"], ["nope"], '"nope"'),
        (["pool1"], ["pool1"], "from pool1 to pool1"),
    ],
)  # fmt: skip
def test_ends_that_make_no_slice_are_refused_with_the_fix(
    chain_model: bytes, start: list[str], end: list[str], words: str
) -> None:
    with pytest.raises((UnknownTensor, BadRequest)) as caught:
        Graph(chain_model).slice(start, end)
    assert words in str(caught.value)


def test_an_input_that_is_not_a_tensor_is_refused() -> None:
    x = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    made = helper.make_graph([helper.make_node("SequenceLength", ["x"], ["y"])], "sequence", [x], [y])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(BadRequest, match=r"input x .*sequence_type"):
        Graph(model.SerializeToString())
