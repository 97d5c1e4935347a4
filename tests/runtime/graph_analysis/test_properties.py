"""Rows that are proven separate are separate; networks that mix rows are never proven."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from mmap import mmap
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import mixing
from benchmarks.graphs.catalogue import BUILDERS, build
from benchmarks.graphs.transformers import transformer
from edge_runtime.graph_analysis.analysis import proven_of
from edge_runtime.graph_analysis.nodes import RANDOM
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.graph_analysis.weight_stripping import without_weights
from edge_runtime.inference.sessions import Session
from edge_runtime.slicing import Graph
from edge_runtime.tensors import Array
from networks import info, model_of

KEPT = ProvenProperties()


def rows_of(shape: Sequence[int], *counts: int) -> list[Array]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(count, *shape)).astype(np.float32) for count in counts]


def kept_apart(model: bytes, requests: Sequence[Array]) -> bool:
    """Whether requests in a batch have the same results as one by one, with a row for each row."""
    session = Session(model, proven=KEPT)
    alone = [session.run({"x": x}) for x in requests]
    try:
        together = session.run({"x": np.concatenate(requests)})
    except Exception:
        return False
    for *parts, whole in zip(*alone, together, strict=True):
        expected = np.concatenate(parts) if parts[0].ndim else np.array(0)
        if expected.shape != whole.shape or len(whole) != sum(map(len, requests)):
            return False
        exact = expected.dtype.kind != "f"
        if not (np.array_equal(expected, whole) if exact else np.allclose(expected, whole, 1e-3, 2e-3)):
            return False
    return True


@given(mixing.kept())
@settings(max_examples=60, deadline=None)
def test_parts_that_keep_rows_apart_are_proven_in_any_order(found: tuple[list[str], bytes]) -> None:
    _, model = found
    assert proven_of(model) == KEPT
    assert kept_apart(model, rows_of((4, 6), 1, 2, 3))


@given(mixing.mixed())
@settings(max_examples=100, deadline=None)
def test_a_part_that_mixes_rows_is_never_proven_wherever_it_is(found: tuple[list[str], bytes]) -> None:
    parts, model = found
    proven = proven_of(model)
    assert proven.alone
    assert bool(proven.unrepeatable) is ("noise" in parts)


@pytest.mark.parametrize("part", [*mixing.KEEPING, *mixing.MIXING])
def test_each_part_does_what_it_is_listed_for(part: str) -> None:
    model = mixing.network([part])
    assert kept_apart(model, rows_of((4, 6), 1, 2)) is (part in mixing.KEEPING)
    assert (proven_of(model).alone == "") is (part in mixing.KEEPING)


@pytest.mark.parametrize("part", mixing.KEEPING)
def test_whole_numbers_are_proven_only_where_no_sum_decides_about_them(part: str) -> None:
    """The argmax of nearly equal values can change if they are summed in another order."""
    proven = proven_of(mixing.network([part], numbered=True))
    assert (proven.alone == "") is (part not in mixing.ROUNDING)
    assert part not in mixing.ROUNDING or "integers" in proven.alone


SHAPE = (3, 4, 2)
# Each by the axis that it works along, on a tensor of [rows, 3, 4, 2].
ALONG: Mapping[str, Callable[[mixing.Network, int], str]] = {
    "softmax": lambda n, axis: n.node("Softmax", n.last, axis=axis),
    "hardmax": lambda n, axis: n.node("Hardmax", n.last, axis=axis),
    "log softmax": lambda n, axis: n.node("LogSoftmax", n.last, axis=axis - 4),
    "lp": lambda n, axis: n.node("LpNormalization", n.last, axis=axis),
    "running sum": lambda n, axis: n.node("CumSum", n.last, n.whole(axis, scalar=True)),
    "reversed": lambda n, axis: n.node(
        "Slice", n.last, n.whole(-1), n.whole(-(2**40)), n.whole(axis), n.whole(-1)
    ),
    "from the second on": lambda n, axis: n.node(
        "Sub", n.last, n.node("Slice", n.last, n.whole(0), n.whole(1), n.whole(axis))
    ),
    "all of it": lambda n, axis: n.node("Slice", n.last, n.whole(0), n.whole(2**40), n.whole(axis)),
    "less the mean": lambda n, axis: n.node(
        "Sub", n.last, n.node("ReduceMean", n.last, axes=[axis], keepdims=1)
    ),
    "the best": lambda n, axis: n.node("TopK", n.last, n.whole(1), outputs=2, axis=axis),
    "numbers of the best": lambda n, axis: n.node(
        "Cast", n.node("ArgMax", n.last, axis=axis, keepdims=1), to=TensorProto.FLOAT
    ),
    "twice": lambda n, axis: n.node("Concat", n.last, n.last, axis=axis),
    "padded": lambda n, axis: n.node("Pad", n.last, n.whole(*(int(i == axis) for i in range(4)), 0, 0, 0, 0)),
    "repeated": lambda n, axis: n.node("Tile", n.last, n.whole(*(1 + (i == axis) for i in range(4)))),
    "one of it": lambda n, axis: n.node("Gather", n.last, n.whole(0), axis=axis),
    "layer norm": lambda n, axis: n.node(
        "LayerNormalization", n.last, n.constant(np.ones((1,), np.float32)), axis=axis
    ),
    "resized": lambda n, axis: n.node(
        "Resize",
        n.last,
        "",
        n.constant(np.array([1 + (i == axis) for i in range(4)], np.float32)),
        mode="nearest",
    ),
}


@given(st.sampled_from(sorted(ALONG)), st.permutations(range(4)), st.integers(0, 3))
@settings(max_examples=250, deadline=None)
def test_an_operator_along_an_axis_is_proven_exactly_when_it_keeps_rows_apart(
    kind: str, order: Sequence[int], axis: int
) -> None:
    network = mixing.Network()
    network.last = network.node("Transpose", "x", perm=list(order))
    made = ALONG[kind](network, axis)
    back = network.node("Transpose", made, perm=[list(order).index(i) for i in range(4)])
    model = model_of(
        network.nodes, [info("x", "N", *SHAPE)], [info(back, "N", "a", "b", "c")], network.weights
    )
    assert (proven_of(model).alone == "") is kept_apart(model, rows_of(SHAPE, 1, 2))


@given(st.permutations([("N",), 3, 4]), st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 6, 8, 12]), max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_reshape_is_proven_only_when_it_keeps_rows_apart(order: Sequence[Any], target: list[int]) -> None:
    """Rows can be along any axis before, and become the first axis again if possible."""
    network = mixing.Network()
    at = next(i for i, d in enumerate(order) if isinstance(d, tuple))
    perm = [1, 2]
    perm.insert(at, 0)
    turned = network.node("Transpose", "x", perm=perm)
    made = network.node("Reshape", turned, network.whole(*target))
    for front in range(len(target)):
        others = [i for i in range(len(target)) if i != front]
        nodes = [*network.nodes, helper.make_node("Transpose", [made], ["y"], perm=[front, *others])]
        sizes = [d for d in order if not isinstance(d, tuple)]
        shape = [f"d{i}" for i in range(len(target))]
        try:
            model = model_of(nodes, [info("x", "N", 3, 4)], [info("y", *shape)], network.weights)
            Session(model, proven=KEPT).run({"x": rows_of((3, 4), 2)[0]})
        except Exception:
            continue  # nothing that onnxruntime runs
        if proven_of(model).alone == "":
            assert sizes
            assert kept_apart(model, rows_of((3, 4), 1, 2, 3))


@given(
    st.lists(st.sampled_from(["rows", 1, 2, 5]), min_size=1, max_size=3),
    st.lists(st.sampled_from([1, 2, 3, 4]), max_size=4),
)
@settings(deadline=None)
def test_a_constant_is_broadcast_only_where_it_is_one_for_all_rows(left: list[Any], shape: list[int]) -> None:
    """For example a constant of [2, 1]: it fits one row, but also two rows."""
    if left.count("rows") != 1:
        left = ["rows", *(d for d in left if d != "rows")]
    at = left.index("rows")
    sizes = [d for d in left if d != "rows"]
    network = mixing.Network()
    order = list(range(1, len(left)))
    order.insert(at, 0)
    turned = network.node("Transpose", "x", perm=order)
    made = network.node("Mul", turned, network.noise(*shape))
    rank = max(len(left), len(shape))
    front = rank - len(left) + at
    others = [i for i in range(rank) if i != front]
    nodes = [*network.nodes, helper.make_node("Transpose", [made], ["y"], perm=[front, *others])]
    try:
        model = model_of(nodes, [info("x", "N", *sizes)], [info("y", *"abcd"[:rank])], network.weights)
        Session(model, proven=KEPT).run({"x": rows_of(sizes, 1)[0]})
    except Exception:
        return
    assert (proven_of(model).alone == "") is kept_apart(model, rows_of(sizes, 1, 1, 1))


@pytest.mark.parametrize("name", [*BUILDERS, "open sequence"])
def test_real_networks_and_their_slices_run_in_batches(name: str) -> None:
    if name == "open sequence":
        assert proven_of(transformer(blocks=2, sequence="words").SerializeToString()) == KEPT
        return
    data = build(name).SerializeToString()
    assert proven_of(data) == KEPT
    graph = Graph(data)
    last = graph.outputs[-1]
    cuts = graph.cuts([last]) if len(graph.inputs) == 1 else []
    inside = [c.tensors for c in cuts[1:-1]]
    for cut in inside[:: max(len(inside) // 3, 1)]:
        for codec in ("fp32", "fp16", "int8"):
            assert proven_of(graph.slice(graph.inputs, cut, encode=codec)) == KEPT
            assert proven_of(graph.slice(cut, [last], decode=codec)) == KEPT


def test_every_operator_that_draws_is_known() -> None:
    drawing = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and "seed" in schema.attributes
    }
    assert drawing - {"Dropout"} == RANDOM


def model_with(
    nodes: Sequence[Any],
    weights: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[int | str] = ("N", 4),
    datatype: str = "FP32",
    out: onnx.ValueInfoProto | None = None,
    opset: int = 17,
    functions: Sequence[Any] = (),
    domain: str = "test",
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [info("x", *shape, datatype=datatype)],
        [out or helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(domain, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)
    return bytes(model.SerializeToString())


def tiled(factor: float, rounding: str) -> bytes:
    """A part of a table for that many times the rows, spread over them."""
    nodes = [
        node("Shape", "x", "s", start=0, end=1),
        node("Cast", "s", "f", to=TensorProto.FLOAT),
        node("Mul", "f factor", "m"),
        node(rounding, "m", "r"),
        node("Cast", "r", "k", to=TensorProto.INT64),
        node("Concat", "k one", "times", axis=0),
        node("Tile", "table times", "t"),
        node("Concat", "s rest", "shape", axis=0),
        node("Reshape", "t shape"),
    ]
    table = np.array([[5], [7]], np.float32)
    return model_with(
        nodes, {"factor": np.float32(factor), "one": [1], "rest": [-1], "table": table}, opset=17
    )


@pytest.mark.parametrize("rounding", ["Floor", "Ceil", "Round", "Identity"])
def test_a_fraction_of_the_rows_is_proven_for_no_row(rounding: str) -> None:
    for factor in (0.3, 0.5, 1.5):
        assert "Tile" in proven_of(tiled(factor, rounding)).alone
    assert proven_of(tiled(2.0, rounding)).alone == ""


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (model_with([node("Relu", "x")], shape=(1, 4)), "fixed to 1"),
        (model_with([node("Relu", "x")], shape=()), "batch dimension"),
        (model_with([node("Identity", "x")], datatype="BYTES"), "input x contains strings"),
        (model_with([node("Squeeze", "x")], shape=("N", 1)), "Squeeze"),
        (model_with([node("Softmax", "x", axis=0)], opset=11), "Softmax"),
        (model_with([node("Softmax", "x", axis=-2)], shape=("N", 4), opset=11), "Softmax"),
        (model_with([node("ReduceSum", "x")]), "ReduceSum"),
        (model_with([node("MaxPool", "x", "p y", kernel_shape=[2])], shape=("N", 3, 8)), "MaxPool"),
        (
            model_with(
                [node("BatchNormalization", "x s s s s", "y m v", training_mode=1)],
                {"s": np.ones(4, np.float32)},
            ),
            "BatchNormalization",
        ),
        (model_with([node("Relu", "c"), node("Identity", "x", "z")], {"c": np.ones(3)}), "output y"),
        (model_with([node("Transpose", "x", perm=[1, 0])]), "output y"),
        (model_with([node("Flatten", "x", axis=0)]), "output y"),
        (model_with([node("Own", "x", domain="test")]), 'operator test.Own "y"'),
        (model_with([node("SequenceConstruct", "x x")]), "SequenceConstruct"),
        (model_with([node("Relu", "x")], opset=99), "opset 99"),
        (model_with([node("Relu", "x")], opset=6), "opset 6"),
        (model_with([node("Cast", "x", to=TensorProto.STRING)]), "Cast"),
        (model_with([node("Shape", "x", "s"), node("Cast", "s", to=1)]), "output y"),
        (model_with([node("Shape", "x", "s"), node("Size", "x", "n"), node("Cast", "n", to=1)]), "output y"),
        (
            model_with(
                [node("Shape", "x", "s"), node("Reshape", "x s", "z"), node("Gather", "z i")], {"i": 0}
            ),
            "Gather",
        ),
        (model_with([node("CastLike", "c x")], {"c": np.ones((1, 4), np.float32)}), "output y"),
        (
            model_with([node("LayerNormalization", "x s")], {"s": np.ones((2, 4), np.float32)}),
            "LayerNormalization",
        ),
        (
            model_with(
                [
                    node("Shape", "x", "h0"),
                    *(node("Mul", f"h{i} h{i}", f"h{i + 1}") for i in range(80)),
                    node("Reshape", "x h80"),
                ]
            ),
            "Mul",
        ),
        (
            model_with(
                [node("MatMul", "x w", "h"), node("Greater", "h c")],
                {"w": np.ones((4, 4), np.float32), "c": np.float32(1)},
                out=helper.make_tensor_value_info("y", TensorProto.BOOL, None),
            ),
            "output y has integers",
        ),
        (model_with([node("Missing", "x")]), "Missing"),
        (model_with([node("Add", "x nowhere")]), "nowhere"),
        (model_with([node("Softmax", "x", axis=9)]), "Softmax"),
        (b"", "cannot be read"),
        (b"\xff" * 50, "cannot be read"),
    ],
)
def test_the_reason_names_what_stands_in_the_way(model: bytes, named: str) -> None:
    assert named in proven_of(model).alone


@pytest.mark.parametrize(
    "model",
    [
        model_with([node("Softmax", "x", axis=1)], shape=("N", 4, 5), opset=11),
        model_with([node("Squeeze", "x", axes=[1])], shape=("N", 1, 5), opset=11),
        model_with([node("Mul", "h h"), node("Relu", "x", "h")]),
        model_with([node("MaxPool", "x", kernel_shape=[2])], shape=("N", 3, 8)),
        model_with([node("Dropout", "x r f")], {"r": np.float32(0.5), "f": np.array(False)}),
        model_with([node("Clip", "x", min=0.0)], opset=7),
        model_with(
            [node("MatMulInteger", "x w")],
            {"w": np.ones((4, 4), np.uint8)},
            datatype="UINT8",
            out=helper.make_tensor_value_info("y", TensorProto.INT32, None),
        ),
        model_with([node("Einsum", "x w", equation="bi,ij->bj")], {"w": np.ones((4, 3), np.float32)}),
        model_with([node("FusedMatMul", "x w", domain="com.microsoft", transB=1)], {"w": np.ones((3, 4))}),
        model_with([node("BatchNormalization", "x s s s s")], {"s": np.ones(4, np.float32)}),
        model_with(
            [
                *(
                    node("Shape", "x", "all"),
                    node("Slice", "all one end", "inner"),
                    node("Slice", "all no one", "rows"),
                ),
                *(node("ReduceProd", "inner", "size"), node("Concat", "rows size", "flat", axis=0)),
                node("Reshape", "x flat"),
            ],
            {"no": np.array([0]), "one": np.array([1]), "end": np.array([9])},
            shape=("N", 3, "h", "w"),
        ),
        model_with(
            [node("Twice", "x", domain="test")],
            functions=[
                helper.make_function(
                    "test", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
                )
            ],
        ),
    ],
)
def test_what_keeps_rows_apart_is_proven_in_every_version_and_form(model: bytes) -> None:
    assert proven_of(model).alone == ""


def test_a_model_is_repeatable_unless_it_draws_or_is_unknown() -> None:
    own = model_with([node("Own", "x", domain="test")])
    assert "test.Own" in proven_of(own).unrepeatable
    in_a_branch = helper.make_graph([node("RandomNormalLike", "x", "z")], "b", [], [info("z", "N", 4)])
    flag = {"f": np.array(True)}
    nested = model_with([node("If", "f", then_branch=in_a_branch, else_branch=in_a_branch)], flag)
    assert "RandomNormalLike" in proven_of(nested).unrepeatable
    assert proven_of(model_with([node("NonZero", "x")])).unrepeatable == ""


@given(st.binary(max_size=200), st.integers(0, 5000), st.booleans())
@settings(deadline=None)
def test_damaged_files_get_a_reason_and_never_an_error(noise: bytes, at: int, cut: bool) -> None:
    model = mixing.network(["product", "recurrent"])
    at %= len(model)
    damaged = model[:at] + (b"" if cut else noise + model[at + len(noise) :])
    found = proven_of(damaged)
    assert ProvenProperties.of(found.document()) == found


@given(st.integers(0, 3), st.sampled_from(["raw", "typed", "constant", "inside"]))
@settings(deadline=None)
def test_weights_are_not_read(seed: int, form: str) -> None:
    values = np.random.default_rng(seed).normal(size=(4, 5000)).astype(np.float32)
    weight = numpy_helper.from_array(values, "w")
    if form == "typed":
        weight = helper.make_tensor("w", TensorProto.FLOAT, values.shape, values.ravel().tolist())
    nodes = [node("MatMul", "x w")]
    if form == "inside":
        body = helper.make_graph([node("Add", "x x", "z")], "b", [], [info("z", "N", 4)], [weight])
        nodes.append(helper.make_node("If", ["f"], ["other"], then_branch=body, else_branch=body))
    if form in ("constant", "inside"):
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    initializers = [weight] if form in ("raw", "typed") else []
    graph = helper.make_graph(nodes, "g", [info("x", "N", 4)], [info("y", "N", 5000)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    data = model.SerializeToString()
    light = without_weights(BytesIO(data), len(data))
    assert len(light) < 2000 < 80_000 < len(data)
    read = onnx.load_model_from_string(light)
    assert [n.op_type for n in read.graph.node] == [n.op_type for n in graph.node]
    kept = read.graph.initializer or [read.graph.node[0].attribute[0].t]
    assert list(kept[0].dims) == [4, 5000]
    assert proven_of(data).alone == ""


def test_a_file_on_disk_is_read_as_its_bytes_are(tmp_path: Any) -> None:
    for parts in itertools.combinations(["product", "heads", "softmax over 0"], 2):
        model = mixing.network(parts)
        (tmp_path / "m.onnx").write_bytes(model)
        with mmap(-1, len(model)) as mapped:
            mapped.write(model)
            assert proven_of(tmp_path / "m.onnx") == proven_of(mapped) == proven_of(model)
    assert proven_of(tmp_path / "gone.onnx").alone
