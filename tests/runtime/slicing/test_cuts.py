"""The cuts of an exit, their costs, and rejected graphs."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import BadAccuracy, BadRequest, NotOnnx, UnknownOutput
from edge_runtime.model_metadata import metadata_of
from edge_runtime.slicing import Graph
from messages import mentions
from networks import info, model_of

EXITS = [{"name": "exit1", "output": "exit1_logits", "accuracy": 0.5}]


def test_a_chain_is_cut_behind_each_layer_and_never_in_front_of_what_is_fused(chain_model: bytes) -> None:
    cuts = Graph(chain_model).cuts(["logits"])
    assert [c.tensor for c in cuts] == ["image", "relu1", "pool1", "relu2", "pool2", "relu3", "pool3"]


def test_the_bytes_of_a_cut_are_those_of_one_item(chain_model: bytes) -> None:
    cuts = {c.tensor: c.bytes for c in Graph(chain_model).cuts(["logits"])}
    assert cuts["image"] == 1 * 16 * 16 * 4
    assert cuts["relu1"] == 4 * 16 * 16 * 4
    assert cuts["pool2"] == 4 * 4 * 4 * 4


def test_an_early_exit_has_the_cuts_before_it_only(chain_model: bytes) -> None:
    assert [c.tensor for c in Graph(chain_model).cuts(["exit1_logits"])] == ["image", "relu1", "pool1"]


@pytest.fixture
def early_outputs() -> Graph:
    """x -> h -> first -> second -> third: the first and the second are outputs; the rest reads the first."""
    weights = [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["first"]),
        helper.make_node("MatMul", ["first", "w"], ["second"]),
        helper.make_node("MatMul", ["first", "w"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["third"]),
    ]
    outputs = [info(name, "N", 4) for name in ("first", "second", "third")]
    return Graph(model_of(nodes, [info("x", "N", 4)], outputs, weights))


def test_an_output_that_nothing_behind_a_cut_reads_does_not_cross(early_outputs: Graph) -> None:
    ends = ["first", "second", "third"]
    cuts = {cut.tensors: cut for cut in early_outputs.cuts(ends, 4)}
    assert cuts["h",].crossing == ("h",)
    assert (cuts["first",].sent, cuts["first",].bytes) == (("first",), 16)
    late = next(cut for tensors, cut in cuts.items() if "m" in tensors)
    assert set(late.tensors) == {"first", "second", "m"}
    assert (late.sent, late.bytes) == (("m",), 16)


def test_a_slice_has_kept_outputs_besides_those_that_it_sends(early_outputs: Graph) -> None:
    takes, gives = early_outputs.contract(["x"], ["m"], encode="int8", kept=["first", "second"])
    assert [tensor.name for tensor in takes] == ["x"]
    assert [tensor.name for tensor in gives[-2:]] == ["first", "second"]
    assert gives[0].name == "m:int8"
    data = early_outputs.slice(["x"], ["m"], encode="int8", kept=["first", "second"])
    made = onnx.load_model_from_string(data).graph
    assert [output.name for output in made.output] == [tensor.name for tensor in gives]


def test_a_tensor_that_is_sent_encoded_can_be_kept_as_it_is(early_outputs: Graph) -> None:
    _, gives = early_outputs.contract(["x"], ["first"], encode="int8", kept=["first"])
    assert (gives[0].name, gives[-1].name) == ("first:int8", "first")
    _, plain = early_outputs.contract(["x"], ["first"], kept=["first"])
    assert [tensor.name for tensor in plain] == ["first"]


def test_no_tensor_inside_a_residual_block_is_a_cut(residual_model: bytes) -> None:
    cuts = [c.tensor for c in Graph(residual_model).cuts(["logits"])]
    assert cuts == ["image", "stem", "sum1", "sum2", "pooled"]


def test_removing_a_cut_separates_and_removing_another_tensor_does_not(residual_model: bytes) -> None:
    graph = Graph(residual_model)
    cuts = {c.tensor for c in graph.cuts(["logits"])}
    tensors = {o for n in graph.model.graph.node for o in n.output} - {"logits"}
    separating = {t for t in tensors if not _reaches(graph, "logits", without=t)}
    # Flattened and added to a block's end, these are cuts, too; the metadata omits those of equal cost.
    assert separating - cuts == {"flat"}
    assert cuts - separating == {"image"}


def _reaches(graph: Graph, output: str, without: str) -> bool:
    made_from = {o: n.input for n in graph.model.graph.node for o in n.output}
    todo, seen = [output], set()
    while todo:
        name = todo.pop()
        if name in graph.inputs:
            return True
        if name != without and name not in seen:
            seen.add(name)
            todo.extend(made_from.get(name, ()))
    return False


def test_segments_that_exits_share_are_listed_once(chain_model: bytes) -> None:
    metadata = metadata_of(Graph(chain_model), len(chain_model))
    trunk = ["image", "relu1", "pool1", "relu2", "pool2", "relu3", "pool3", "logits"]
    branches = {("pool1", "exit1_logits"), ("pool2", "exit2_logits")}
    assert set(metadata.segments()) == set(pairwise(trunk)) | branches
    assert len(metadata.segments()) == 9


def test_a_long_chain_is_cut_in_linear_time() -> None:
    nodes = [helper.make_node("Sin", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    model = model_of(nodes, [info("t0", "N", 4)], [info("t3000", "N", 4)])
    assert len(Graph(model).cuts(["t3000"])) == 3000


def test_exits_given_in_the_manifest_override_those_of_the_file(chain_model: bytes) -> None:
    metadata = metadata_of(Graph(chain_model), len(chain_model), EXITS).document()
    assert [(e["name"], e["accuracy"]) for e in metadata["exits"]] == [("exit1", 0.5)]


@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        ({"output": "exit1_logitz"}, UnknownOutput,
         ('model.exits[0].output: "exit1_logitz"', "exit1_logits, exit2_logits, logits")),
        ({"accuracy": 1.3}, BadAccuracy,
         ("model.exits[0].accuracy: 1.3", "0 and 1", 0.93)),
        ({"accuracy": "high"}, BadAccuracy,
         ('model.exits[0].accuracy: "high"', "number", "0 and 1")),
        ({"name": ""}, BadRequest, ('model.exits[0].name: ""', "non-empty")),
    ],
)  # fmt: skip
def test_a_wrong_exit_is_refused_by_field_value_and_fix(
    chain_model: bytes, change: dict[str, Any], error: type[Exception], parts: tuple[object, ...]
) -> None:
    with pytest.raises(error, match=mentions(*parts)):
        metadata_of(Graph(chain_model), 1, [{**EXITS[0], **change}])


def test_a_name_given_twice_is_refused(chain_model: bytes) -> None:
    with pytest.raises(BadRequest, match=r'model\.exits\[1\]\.name: "exit1" is listed twice'):
        metadata_of(Graph(chain_model), 1, [*EXITS, {**EXITS[0], "output": "logits"}])


def test_a_model_that_names_no_exit_has_one_with_all_outputs_and_no_accuracy(chain_model: bytes) -> None:
    model = onnx.load_model_from_string(chain_model)
    del model.metadata_props[:]
    (exit_,) = metadata_of(Graph(model.SerializeToString()), 1).document()["exits"]
    assert (exit_["name"], exit_["accuracy"]) == ("final", None)
    assert exit_["outputs"] == [tensor["name"] for tensor in exit_["tensors"]]
    assert exit_["outputs"] == [output.name for output in model.graph.output]


@pytest.mark.parametrize("text", ["[" * 100_000, "[NaN", "{}", "null", "[1e999]"])
def test_metadata_that_is_not_a_list_of_exits_is_refused(chain_model: bytes, text: str) -> None:
    model = onnx.load_model_from_string(chain_model)
    del model.metadata_props[:]
    model.metadata_props.add(key="edge.exits", value=text)
    with pytest.raises(BadRequest):
        metadata_of(Graph(model.SerializeToString()), 1)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"not an onnx file at all", b"PK\x03\x04" + bytes(100), b"{}", bytes(64)]
)
def test_what_is_not_onnx_is_refused_by_its_first_bytes(data: bytes) -> None:
    with pytest.raises(NotOnnx) as caught:
        Graph(data)
    assert f"{len(data)} bytes starting with {data[:8].hex(' ') or 'nothing'}" in str(caught.value)


def test_every_truncation_of_a_model_is_refused_or_read_as_a_model(chain_model: bytes) -> None:
    refused = 0
    for length in range(0, len(chain_model), 997):
        try:
            Graph(chain_model[:length])
        except (NotOnnx, BadRequest):
            refused += 1
    assert refused == len(range(0, len(chain_model), 997))


def test_an_open_dimension_besides_the_batch_is_refused(chain_model: bytes) -> None:
    model = onnx.load_model_from_string(chain_model)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    with pytest.raises(BadRequest, match=mentions("input image", "dimension 2 (H)")):
        Graph(model.SerializeToString()).cuts(["logits"])


def test_metadata_that_is_not_a_list_is_refused(chain_model: bytes) -> None:
    model = onnx.load_model_from_string(chain_model)
    model.metadata_props[0].value = json.dumps({"name": "x"})
    with pytest.raises(BadRequest, match=mentions("list", "exits")):
        metadata_of(Graph(model.SerializeToString()), 1)


def test_copies_of_the_input_are_found_through_moves_casts_and_constant_scales() -> None:
    weights = [
        numpy_helper.from_array(np.array([1, 4], np.int64), "shape"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(np.ones((4, 3), np.float32), "w"),
    ]
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "half"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["relu"]),
        helper.make_node("Mul", ["relu", "scaled"], ["product"]),
        helper.make_node("Concat", ["relu", "flat"], ["both"], axis=1),
        helper.make_node("Split", ["both"], ["left", "right"], axis=1),
        helper.make_node("Add", ["product", "left"], ["sum"]),
        helper.make_node("Add", ["sum", "right"], ["total"]),
        helper.make_node("MatMul", ["total", "w"], ["logits"]),
    ]
    model = model_of(nodes, [info("image", 1, 2, 2)], [info("logits", 1, 3)], weights)
    assert Graph(model).input_copies == ("image", "flat", "cast", "scaled", "both", "left", "right")


def test_the_metadata_lists_the_copies_of_the_input(chain_model: bytes) -> None:
    assert metadata_of(Graph(chain_model), 0, EXITS).document()["inputCopies"] == ["image"]
