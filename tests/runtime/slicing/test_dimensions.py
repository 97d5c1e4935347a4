"""Open, fixed and unknown dimensions, and the forms of files that onnxruntime accepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edge_runtime.errors import BadRequest, NotOnnx, UnknownTensor
from edge_runtime.file_profiles import profile_file
from edge_runtime.model_metadata import metadata_of
from edge_runtime.slicing import Graph
from messages import mentions
from networks import AS_WRITTEN, OPTIMIZED, Array, run

Dims = Sequence[int | str | None]


def value(name: str, dims: Dims | None, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: dict[str, Array] | None = None,
    declared: Sequence[ValueInfoProto] = (),
) -> ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "odd", inputs, outputs, initializers, value_info=declared)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def chain(dims: Dims, out: Dims | None = (None, 4)) -> ModelProto:
    """x -> h (rows rotated by w) -> y."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    w = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    return model(nodes, [value("x", dims)], [value("y", out)], {"w": w})


def found() -> ModelProto:
    """The rows of x and z whose mark is above 0: `k` and `l` have two sizes of their own."""
    nodes = [
        helper.make_node("Greater", ["m", "zero"], ["hit"]),
        helper.make_node("Compress", ["x", "hit"], ["k"], axis=0),
        helper.make_node("Compress", ["z", "hit"], ["l"], axis=1),
        helper.make_node("Relu", ["k"], ["k1"]),
        helper.make_node("Transpose", ["l"], ["l1"]),
        helper.make_node("MatMul", ["k1", "l"], ["kl"]),
        helper.make_node("MatMul", ["kl", "l1"], ["y"]),
    ]
    inputs = [value("x", ["N", 4]), value("m", ["N"]), value("z", [4, "N"])]
    return model(nodes, inputs, [value("y", ["N", 4])], {"zero": np.zeros((), np.float32)})


def dims_of(data: bytes) -> dict[str, list[int | str]]:
    graph = onnx.load_model_from_string(data).graph
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }


def agrees(data: bytes, cut: str = "h", batch: int = 3) -> None:
    """Both slices at a cut together give onnxruntime's results for the file."""
    x = np.random.default_rng(2).normal(size=(batch, 4)).astype(np.float32)
    graph = Graph(data)
    middle = run(graph.slice(["x"], [cut]), {"x": x})
    assert run(graph.slice([cut], ["y"]), middle)["y"].tobytes() == run(data, {"x": x})["y"].tobytes()


@pytest.mark.parametrize("batch", ["N", "2*N", "height//2 + 1", None, -1, -4096])
def test_a_dimension_is_open_by_whatever_name_or_number_below_0(batch: int | str | None) -> None:
    data = chain([batch, 4]).SerializeToString()
    graph = Graph(data)
    assert graph.tensor("x").shape == graph.tensor("h").shape == (-1, 4)
    assert [(c.tensor, c.bytes) for c in graph.cuts(["y"])] == [("x", 16), ("h", 16)]
    agrees(data)


@pytest.mark.parametrize("open_", ["H", None, -1])
def test_a_model_with_other_open_sizes_has_slices_and_no_cuts_of_invented_bytes(
    open_: int | str | None,
) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    for batch in (1, "N", -1):
        graph = Graph(
            model(nodes, [value("x", [batch, 3, open_, open_])], [value("y", None)]).SerializeToString()
        )
        with pytest.raises(BadRequest, match=r"input x .* 2 \(.\), 3 \(.\)"):
            graph.cuts(["y"])
        assert graph.tensor("h").shape == ((1 if batch == 1 else -1), 3, -1, -1)
        assert graph.tensor("y").shape == ((1 if batch == 1 else -1), 3)
        x = np.ones((1, 3, 5, 9), np.float32)
        middle = run(graph.slice(["x"], ["h"]), {"x": x})
        assert run(graph.slice(["h"], ["y"]), middle)["y"].shape == (1, 3)


def test_a_size_of_0_is_a_size_and_nothing_can_be_sent_of_it() -> None:
    graph = Graph(chain([0, 4]).SerializeToString())
    assert graph.tensor("h").shape == (0, 4)
    with pytest.raises(BadRequest, match=r"have no elements \(x \[0, 4\]\)"):
        graph.cuts(["y"])


def test_an_empty_input_adds_no_bytes_to_a_cut() -> None:
    nodes = [helper.make_node("Concat", ["past", "x"], ["h"], axis=1), helper.make_node("Neg", ["h"], ["y"])]
    graph = Graph(
        model(nodes, [value("past", ["N", 0]), value("x", ["N", 4])], [value("y", None)]).SerializeToString()
    )
    assert [(c.tensors, c.bytes) for c in graph.cuts(["y"])] == [(("past", "x"), 16), (("h",), 16)]


def test_a_model_with_strings_has_no_cuts_and_says_that_it_stays_where_requests_arrive() -> None:
    nodes = [helper.make_node("StringNormalizer", ["x"], ["h"]), helper.make_node("Identity", ["h"], ["y"])]
    kinds = [value(name, ["N"], TensorProto.STRING) for name in "xy"]
    metadata = metadata_of(Graph(model(nodes, kinds[:1], kinds[1:]).SerializeToString()), 1)
    assert [[cut.cut.tensors for cut in exit_.cuts] for exit_ in metadata.exits] == [[("x",)]]
    assert mentions("input x", "strings").search(metadata.local)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(-9, 9), st.integers(-9, 9) | st.just(2**63 - 1), st.sampled_from([-3, -1, 1, 2, 4, 300]))
def test_a_batch_that_slice_cuts_is_not_taken_for_fixed(start: int, end: int, step: int) -> None:
    numbers = {"s": start, "e": end, "a": 0, "t": step}
    weights: dict[str, Array] = {name: np.array([n], np.int64) for name, n in numbers.items()}
    nodes = [
        helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["h"]),
        helper.make_node("Exp", ["h"], ["y"]),
    ]
    data = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights).SerializeToString()
    graph, whole = Graph(data), {}
    for batch in range(1, 14):
        x = np.random.default_rng(3).normal(size=(batch, 4)).astype(np.float32)
        whole[batch] = run(graph.slice(["x"], ["h"]), {"x": x})["h"]
        agrees(data, "h", batch)
    sizes = {h.shape[0] for h in whole.values()}
    known = graph.tensor("h").shape[0]
    assert known == -1 or sizes == {known}
    assert known == 1 or sizes != {1} or step < 0
    listed = "h" in {cut.tensor for cut in graph.cuts(["y"])}
    assert listed == all(h.shape[0] == batch for batch, h in whole.items())
    assert (dims_of(graph.slice(["x"], ["h"]))["h"][0] == "N") == listed


@pytest.mark.parametrize("level", [AS_WRITTEN, OPTIMIZED])
def test_a_slice_runs_whatever_sizes_its_open_dimensions_have(level: object) -> None:
    """onnxruntime gives tensors with equal names of dimensions one buffer, and fails if they differ."""
    nodes = [
        helper.make_node("NonZero", ["a"], ["i"]),
        helper.make_node("NonZero", ["b"], ["j"]),
        *(helper.make_node("Transpose", [n], [f"{n}1"]) for n in "ij"),
        *(helper.make_node("Cast", [f"{n}1"], [f"{n}2"], to=TensorProto.FLOAT) for n in "ij"),
        *(helper.make_node("Relu", [f"{n}2"], [f"{n}3"]) for n in "ij"),
        *(helper.make_node("Neg", [f"{n}3"], [f"{n}4"]) for n in "ij"),
        *(helper.make_node("Exp", [f"{n}4"], [f"{n}5"]) for n in "ij"),
        helper.make_node("Concat", ["i5", "j5"], ["y"], axis=0),
    ]
    data = model(nodes, [value("a", ["N", 4]), value("b", ["N", 4])], [value("y", None)]).SerializeToString()
    graph = Graph(data)
    tail = graph.slice(["i2", "j2"], ["y"])
    names = [dims[0] for dims in dims_of(tail).values()]
    assert len(set(names)) == len(names) == 3
    for first, second in ((3, 5), (5, 3), (0, 4), (0, 0)):
        feeds = {"i2": np.ones((first, 2), np.float32), "j2": np.ones((second, 2), np.float32)}
        assert run(tail, feeds, level)["y"].shape == (first + second, 2)


def test_what_values_decide_is_not_a_batch_and_what_follows_the_batch_is() -> None:
    graph = Graph(found().SerializeToString())
    assert dims_of(graph.slice(["x", "m"], ["hit", "k"])) == {
        "x": ["N", 4], "m": ["N"], "hit": ["N"], "k": ["k.0", 4],
    }  # fmt: skip
    names = dims_of(graph.slice(["k", "l"], ["y"]))
    assert len({names["k"][0], names["l"][1], names["y"][0]} - {"N"}) == 3


def test_one_name_stays_one_dimension_in_a_slice_and_two_stay_two() -> None:
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Neg", ["r"], ["y"]),
    ]
    for names in (("N", "M"), (None, None), ("N.0", "a.0"), ("unk__0", "unk__1")):
        inputs = [value("a", [names[0], 4]), value("b", [4, names[1]])]
        graph = Graph(model(nodes, inputs, [value("y", ["N", "N"])]).SerializeToString())
        dims = dims_of(graph.slice(["a", "b"], ["h"]))
        assert dims["h"] == [dims["a"][0], dims["b"][1]]
        assert dims["a"][0] != dims["b"][1]
        assert names[0] in (None, dims["a"][0])
        assert dims_of(graph.slice(["h"], ["y"]))["y"] == dims["h"]


def test_the_name_that_a_file_gives_to_an_unknown_operators_dimension_is_not_a_proof() -> None:
    nodes = [
        helper.make_node("Gelu", ["x"], ["h"], domain="com.microsoft"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Neg", ["r"], ["y"]),
    ]
    made = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], declared=[value("h", ["N", 4])])
    graph = Graph(made.SerializeToString())
    assert dims_of(graph.slice(["x"], ["r"])) == {"x": ["N", 4], "r": ["h.0", 4]}
    assert dims_of(graph.slice(["r"], ["y"])) == {"r": ["h.0", 4], "y": ["y.0", 4]}
    assert [(c.tensor, c.bytes) for c in graph.cuts(["y"])] == [("x", 16), ("r", 16)]
    agrees(made.SerializeToString(), "r")


def reversed_nodes(made: ModelProto) -> None:
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(reversed(nodes))


def without_import(made: ModelProto) -> None:
    made.graph.node[1].op_type, made.graph.node[1].domain = "Gelu", "com.microsoft"


def old(made: ModelProto) -> None:
    made.ir_version = 3


LOOSE: dict[str, Callable[[ModelProto], object]] = {
    "nodes out of order": reversed_nodes,
    "an output without a shape": lambda m: m.graph.output[0].type.tensor_type.ClearField("shape"),
    "an output without a type": lambda m: m.graph.output[0].ClearField("type"),
    "an output of another rank": lambda m: m.graph.output[0].type.tensor_type.shape.dim.add(dim_value=7),
    "an output of another size": lambda m: m.graph.output[0].CopyFrom(value("y", [5, 9])),
    "an inner tensor of another shape": lambda m: m.graph.value_info.append(value("h", [5])),
    "an output twice": lambda m: m.graph.output.append(value("y", None)),
    "an input as an output": lambda m: m.graph.output.append(value("x", ["N", 4])),
    "a weight as an output": lambda m: m.graph.output.append(value("w", [4, 4])),
    "no import for a domain": without_import,
    "no name of the graph": lambda m: m.graph.ClearField("name"),
    "weights of IR 3 that are not inputs": old,
    "a weight that is an input": lambda m: m.graph.input.append(value("w", [4, 4])),
}


@pytest.mark.parametrize("form", LOOSE)
def test_a_form_that_onnxruntime_takes_is_taken(form: str) -> None:
    made = chain(["N", 4])
    LOOSE[form](made)
    data = made.SerializeToString()
    assert [(c.tensor, c.bytes) for c in Graph(data).cuts(["y"])] == [("x", 16), ("h", 16)]
    agrees(data)
    assert Graph(data).model.SerializeToString() == data or form == "nodes out of order"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.permutations(range(7)))
def test_any_order_of_the_nodes_gives_the_same_cuts(order: list[int]) -> None:
    kinds = ("Tanh", "Sin", "Neg", "Exp", "Abs", "Cos", "Relu")
    nodes = [helper.make_node(kind, [f"t{i}"], [f"t{i + 1}"]) for i, kind in enumerate(kinds)]

    def cuts(chosen: Sequence[NodeProto]) -> list[tuple[str, ...]]:
        made = model(chosen, [value("t0", ["N", 4])], [value("t7", ["N", 4])])
        return [c.tensors for c in Graph(made.SerializeToString()).cuts(["t7"])]

    assert cuts([nodes[i] for i in order]) == cuts(nodes)


def test_a_cycle_is_refused_by_its_nodes() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    with pytest.raises(NotOnnx, match=mentions("cycle", "nodes a, b")):
        Graph(model(nodes, [value("x", [2])], [value("b", [2])]).SerializeToString())


def test_an_output_that_is_a_constant_or_an_input_is_not_an_exit(tmp_path: Path) -> None:
    made = chain(["N", 4])
    made.graph.output.extend([value("w", [4, 4]), value("x", ["N", 4])])
    data = made.SerializeToString()
    graph = Graph(data)
    assert (graph.outputs, graph.computed) == (("y", "w", "x"), ("y",))
    for name in ("w", "x"):
        with pytest.raises(BadRequest, match=mentions(f'"{name}"', "input x")):
            graph.cuts([name])
    assert [exit_.declared.outputs for exit_ in metadata_of(graph, len(data)).exits] == [("y",)]
    (path := tmp_path / "m.onnx").write_bytes(data)
    profile = profile_file(path, 1, 0.01, lambda done, of: None)
    assert (list(profile.segments), list(profile.exits), profile.note) == (
        [("x", "h"), ("h", "y")],
        ["final"],
        "",
    )
    assert [size for size, _ in profile.segments.values()] == [16, 16]


def test_a_declared_rank_that_contradicts_its_reshape_is_not_used() -> None:
    constants = {"all": [-1], "one": [1], "last": [2]}
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "last"], ["width"]),
        helper.make_node("Mul", ["width", "one"], ["rows"]),
        helper.make_node("Concat", ["rows", "one", "all"], ["wanted"], axis=0),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Reshape", ["r", "wanted"], ["y"]),
    ]
    made = model(nodes, [value("x", [1, 4, "W"])], [value("y", [1, "letters"])])
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(each, np.int64), name) for name, each in constants.items()
    )
    assert len(Graph(made.SerializeToString()).tensor("y").shape) == 3


def test_an_output_with_fewer_dimensions_for_one_item_is_refused_by_its_numbers_of_dimensions() -> None:
    squeezed = model([helper.make_node("Squeeze", ["x"], ["y"])], [value("x", ["N", 4])], [value("y", None)])
    with pytest.raises(UnknownTensor, match=mentions('"y"', "1 or 2 dimensions", "edge-runtime serve")):
        metadata_of(Graph(squeezed.SerializeToString()), 1)


def test_slices_that_quantize_as_they_run_keep_the_declarations_that_nothing_contradicts() -> None:
    """ONNX Runtime fuses by them, and another fusion rounds activations to other steps."""
    declared = [value("d", ["N", 4]), value("r", [1, 4])]

    def inside(*nodes: NodeProto) -> list[str]:
        nodes = (*nodes, helper.make_node("Relu", ["d"], ["r"]), helper.make_node("Neg", ["r"], ["y"]))
        file = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], declared=declared)
        data = Graph(file.SerializeToString()).slice(["x"], ["y"])
        return [each.name for each in onnx.load_from_string(data).graph.value_info]

    quantize = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"])
    assert inside(quantize, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"])) == ["d"]
    assert inside(helper.make_node("Abs", ["x"], ["d"])) == []


def test_an_output_that_is_a_sequence_is_left_out_of_the_exit() -> None:
    made = chain(["N", 4])
    made.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["several"]))
    made.graph.output.append(helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, ["N", 4]))
    data = made.SerializeToString()
    assert [exit_.declared.outputs for exit_ in metadata_of(Graph(data), len(data)).exits] == [("y",)]


def test_tensors_behind_a_sparse_weight_are_known() -> None:
    made = chain(["N", 4])
    del made.graph.initializer[:]
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0, 5], np.int64), "at"), [4, 4])
    )
    data = made.SerializeToString()
    assert Graph(data).tensor("h").shape == (-1, 4)
    agrees(data)


def test_tensors_of_open_size_are_not_cuts() -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Greater", ["t", "zero"], ["hits"]),
        helper.make_node("ReduceMax", ["hits1"], ["hit2"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["hits"], ["hits1"], to=TensorProto.INT32),
        helper.make_node("Cast", ["hit2"], ["hit"], to=TensorProto.BOOL),
        helper.make_node("Compress", ["t", "hit"], ["k"], axis=0),
        helper.make_node("Exp", ["k"], ["e"]),
        helper.make_node("Neg", ["e"], ["y"]),
    ]
    weights: dict[str, Array] = {"zero": np.zeros((), np.float32)}
    data = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], weights).SerializeToString()
    graph = Graph(data)
    assert {"+".join(c.tensors): c.bytes for c in graph.cuts(["y"], 4)} == {
        "x": 16, "t": 16, "t+hits": 20, "t+hits1": 32, "t+hit2": 20, "t+hit": 17,
    }  # fmt: skip
    assert graph.tensor("k").shape == (-1, 4)
    agrees(data, "k")
    agrees(data, "e")


@pytest.mark.parametrize("names", [("N", "N"), (None, None), (-1, -1), ("N", "M")])
def test_several_inputs_with_a_batch_each_are_cut_where_they_are_one(
    names: tuple[int | str | None, ...],
) -> None:
    nodes = [
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("Add", ["t", "b"], ["s"]),
        helper.make_node("Concat", ["s", "s"], ["d"], axis=0),
        helper.make_node("ReduceMax", ["d"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["s", "m"], ["r"]),
        helper.make_node("Exp", ["r"], ["y"]),
    ]
    inputs = [value(name, [batch, 4]) for name, batch in zip("ab", names, strict=True)]
    graph = Graph(model(nodes, inputs, [value("y", None)]).SerializeToString())
    assert [(c.tensors, c.bytes) for c in graph.cuts(["y"])] == [(("a", "b"), 32), (("s",), 16), (("r",), 16)]
    dims = dims_of(graph.slice(["a", "b"], ["s"]))
    assert len({sizes[0] for sizes in dims.values()}) == (1 if names == ("N", "N") else 3)
    feeds = {name: np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32) for name in "ab"}
    for cut in ("s", "r"):
        middle = run(graph.slice(["a", "b"], [cut]), feeds, OPTIMIZED)
        assert run(graph.slice([cut], ["y"]), middle, OPTIMIZED)["y"].shape == (3, 4)
