"""Kinds of files that people run, as the reader, the store's metadata and the plan have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_operator.pool import shapes
from edge_operator.pool.pieces import pieces
from edge_operator.store_answers import ModelCard
from edge_planning.errors import BadValueError
from edge_planning.graphs.onnx_reading import read_model
from edge_planning.request_shapes import RequestShape
from messages import mentions
from networks import info, model_of
from tests.contract.test_several_tensors import Served, planned

SMALL, LARGE = (1, 3, 32, 48), (1, 3, 64, 96)


def text_detector() -> bytes:
    """Convolutions that halve an image of any size, and a map of scores as large as the image."""
    rng = np.random.default_rng(20)
    halve: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    weights = {"w1": (8, 3, 3, 3), "w2": (4, 8, 3, 3), "w3": (1, 4, 1, 1)}
    constants = [
        numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in weights.items()
    ]
    constants.append(numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "scales"))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], **halve),
        helper.make_node("Conv", ["c1", "w2"], ["c2"], **halve),
        helper.make_node("Conv", ["c2", "w3"], ["c3"]),
        helper.make_node("Resize", ["c3", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Sigmoid", ["large"], ["maps"]),
    ]
    return model_of(nodes, [info("x", "N", 3, "H", "W")], [info("maps", "N", 1, "h", "w")], constants)


def voice_detector() -> bytes:
    """Its rate chooses one of two networks, and its state has the batch in the second dimension."""
    rng = np.random.default_rng(21)
    constants = [
        numpy_helper.from_array(rng.normal(size=(64, 8)).astype(np.float32), "narrow"),
        numpy_helper.from_array(np.array(16_000), "fast"),
        numpy_helper.from_array(np.array([0]), "first"),
    ]

    def branch(kind: str) -> Any:
        node = helper.make_node(kind, ["h"], [f"{kind} of h"])
        return helper.make_graph([node], kind, [], [info(f"{kind} of h", "N", 8)])

    nodes = [
        helper.make_node("MatMul", ["input", "narrow"], ["h"]),
        helper.make_node("Equal", ["sr", "fast"], ["is_fast"]),
        helper.make_node(
            "If", ["is_fast"], ["chosen"], then_branch=branch("Tanh"), else_branch=branch("Sigmoid")
        ),
        helper.make_node("Unsqueeze", ["chosen", "first"], ["row"]),
        helper.make_node("Add", ["state", "row"], ["stateN"]),
        helper.make_node("ReduceMean", ["chosen"], ["speech"], axes=[1]),
    ]
    inputs = [info("input", "N", 64), info("state", 2, "M", 8), info("sr", datatype="INT64")]
    return model_of(nodes, inputs, [info("speech", "N", 1), info("stateN", 2, "M", 8)], constants)


def classifier(labels: Sequence[Any]) -> bytes:
    """A linear classifier as exporters write it: a label, and probabilities as a sequence of maps."""
    kind = "strings" if isinstance(labels[0], str) else "int64s"
    listed = "classlabels_strings" if kind == "strings" else "classlabels_ints"
    classes: dict[str, Any] = {listed: list(labels)}
    mapped: dict[str, Any] = {f"classlabels_{kind}": list(labels)}
    linear = helper.make_node(
        "LinearClassifier",
        ["X"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 0.0, -1.0, 2.0],
        intercepts=[0.0, 0.1],
        multi_class=0,
        post_transform="SOFTMAX",
        **classes,
    )
    zipped = helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", **mapped)
    key = TensorProto.STRING if kind == "strings" else TensorProto.INT64
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    maps = helper.make_value_info(
        "maps", helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    )
    label = info("label", "N", datatype="BYTES" if kind == "strings" else "INT64")
    graph = helper.make_graph([linear, zipped], "classes", [info("X", "N", 2)], [label, maps])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def card_of(served: Served, inputs: Sequence[Mapping[str, Any]] = ()) -> ModelCard:
    request = {"storageUri": f"file://{served.path}", "inputs": list(inputs)}
    return ModelCard.model_validate(served.catalogue.add_model(request, served.holdings))


def test_the_reader_and_the_store_have_the_same_bytes_at_each_shape(tmp_path: Path) -> None:
    data = text_detector()
    with pytest.raises(BadValueError, match=mentions("x", "H", "shapes")):
        read_model(data, name="maps")
    served = Served(data, tmp_path)
    unknown = card_of(served)
    assert (unknown.exits[0].cuts, [each.symbol for each in unknown.unknown_sizes]) == ((), ["H", "W"])
    card = card_of(served, [{"name": "x", "typicalShape": SMALL, "maxShape": LARGE}])
    for number, shape in enumerate((SMALL, LARGE)):
        read = {cut.name: cut.size for cut in read_model(data, name="m", shapes={"x": shape}).exits[0].cuts}
        at = shapes.card_at(card, RequestShape.of({"x": shape})).exits[0]
        stored = {cut.tensor: cut.bytes for cut in at.cuts}
        assert stored == {name: read[name] for name in stored}
        assert stored["x"] == 4 * 3 * shape[2] * shape[3]
        assert at.response_bytes == 4 * shape[2] * shape[3]
        assert at.response_bytes == at.response_bytes_at[[0, -1][number]]


def test_every_route_of_a_text_detector_takes_images_of_any_size(tmp_path: Path) -> None:
    served = Served(text_detector(), tmp_path)
    card = card_of(served, [{"name": "x", "typicalShape": SMALL, "maxShape": LARGE}])
    session = onnxruntime.InferenceSession(served.data, providers=["CPUExecutionProvider"])
    for mode in ("LocalOnly", "CloudOnly", "PartitionOnly"):
        for route in planned(card, mode).table.routes:
            for shape in (SMALL, LARGE, (1, 3, 16, 80)):
                feeds = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
                (whole,) = session.run(["maps"], feeds)
                found = served.through(pieces(card, route).keys, feeds)
                np.testing.assert_allclose(found["maps"], whole, rtol=1e-5)


def test_a_voice_detector_is_cut_on_both_sides_of_its_choice_and_its_state_crosses(
    tmp_path: Path,
) -> None:
    served = Served(voice_detector(), tmp_path)
    assert [each.input for each in card_of(served).unknown_sizes] == ["state"]
    card = card_of(served, [{"name": "state", "shape": [2, 1, 8]}])
    (exit_,) = card.exits
    assert exit_.outputs == ("speech", "stateN")
    crossing = {cut.names: {"state", "sr"} & set(cut.names) for cut in exit_.cuts}
    assert crossing["input", "state", "sr"] == {"state", "sr"}
    assert all("state" in names for names in crossing.values())
    assert all(("sr" in names) == ("chosen" not in cut) for cut, names in crossing.items())
    rng = np.random.default_rng(2)
    session = onnxruntime.InferenceSession(served.data, providers=["CPUExecutionProvider"])
    for rate in (8_000, 16_000):
        feeds: dict[str, Any] = {"sr": np.array(rate)}
        feeds |= {
            "input": rng.normal(size=(1, 64)).astype(np.float32),
            "state": np.ones((2, 1, 8), np.float32),
        }
        whole = dict(zip(exit_.outputs, session.run(list(exit_.outputs), feeds), strict=True))
        for mode in ("LocalOnly", "CloudOnly", "PartitionOnly"):
            for route in planned(card, mode).table.routes:
                found = served.through(pieces(card, route).keys, feeds)
                for name in exit_.outputs:
                    np.testing.assert_allclose(found[name], whole[name], rtol=1e-5)


@pytest.mark.parametrize("labels", [[0, 1], ["good", "bad"]])
def test_an_export_with_probabilities_as_maps_is_planned_for_its_label(
    labels: list[Any], tmp_path: Path
) -> None:
    served = Served(classifier(labels), tmp_path)
    card = card_of(served)
    assert [exit_.outputs for exit_ in card.exits] == [("label",)]
    for mode in ("LocalOnly", "CloudOnly"):
        (route, *_) = planned(card, mode).table.routes
        feeds = {"X": np.array([[3.0, 0.5]], np.float32)}
        found = served.through(pieces(card, route).keys, feeds)
        assert found["label"].tolist() == [labels[0]]
