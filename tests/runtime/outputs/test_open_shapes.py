"""Models with open dimensions on every kind of route, at several shapes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from callers import CALLERS
from edge_runtime.assignment import Placement, Route, parse_placement
from edge_runtime.routing.shaped_tables import is_open, request_shape, table_shapes
from edge_runtime.shape_counts import EVERY, RequestShapes
from edge_runtime.tensors import Tensor
from networks import Array, info, model_of, run
from routed import Cutter, routed
from stages import entry

WAYS: dict[str, tuple[str, ...]] = {
    "at the entry node": (),
    "over a hop": ("half",),
    "over two hops": ("half", "quarter"),
}
SHAPES = ((1, 3, 32, 32), (1, 3, 64, 48), (2, 3, 40, 96))


def fully_convolutional() -> bytes:
    """A map of scores whose size follows that of the image, as text detectors have it."""
    random = np.random.default_rng(1)
    weights = {"w1": (4, 3, 3, 3), "w2": (2, 4, 3, 3)}
    halve: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["half"], **halve),
        helper.make_node("Conv", ["half", "w2"], ["quarter"], **halve),
        helper.make_node("Sigmoid", ["quarter"], ["y"]),
    ]
    values = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    return model_of(nodes, [info("x", "N", 3, "H", "W")], [info("y", "N", 2, "h", "w")], values)


@pytest.mark.parametrize("way", WAYS)
def test_requests_of_any_shape_get_what_onnxruntime_gives(way: str, tmp_path: Path) -> None:
    model = fully_convolutional()
    with ExitStack() as stack:
        sockets = stack.enter_context(routed(model, "y", WAYS[way], tmp_path))
        for number, shape in enumerate(SHAPES):
            x = np.random.default_rng(number).normal(size=shape).astype(np.float32)
            (right,) = run(model, {"x": x}).values()
            for caller in CALLERS:
                (answer,) = caller(sockets, "digits", {"x": x}).values()
                np.testing.assert_allclose(answer, right, rtol=1e-4, atol=1e-6)


def test_an_input_that_a_slice_does_not_need_still_tells_the_shape_of_a_request(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["y"]),
        helper.make_node("Identity", ["length"], ["kept"]),
    ]
    given = [info("x", "N", "W"), helper.make_tensor_value_info("length", TensorProto.INT64, ["N", "L"])]
    kept = helper.make_tensor_value_info("kept", TensorProto.INT64, ["N", "L"])
    cutter = Cutter(model_of(nodes, given, [info("y", "N", "W"), kept], []), ["y"])
    stage = cutter.stage(["x"], ["y"]) | {"computeAt": ["10ms", "40ms"], "predictedCompute": "40ms"}
    inputs = [
        [{"name": "x", "shape": [1, size]}, {"name": "length", "shape": [1, size]}] for size in (32, 64)
    ]
    measured = {"planned": inputs[1], "measured": [{"inputs": each} for each in inputs]}
    node = cutter.placement([cutter.route("full@local", stage)], shapes=measured)
    with entry(cutter.keep(tmp_path), node) as sockets:
        for caller in CALLERS:
            feeds: dict[str, Array] = {
                "x": np.zeros((1, 48), np.float32),
                "length": np.ones((1, 48), np.int64),
            }
            (answer,) = caller(sockets, "digits", feeds).values()
            np.testing.assert_allclose(answer, np.full((1, 48), 0.5))


def placement() -> Placement:
    cutter = Cutter(fully_convolutional(), ["y"])
    near = cutter.stage(["x"], ["y"]) | {"computeAt": ["10ms", "40ms"], "predictedCompute": "40ms"}
    far = {"place": "far", "runtime": "Triton", "address": "http://127.0.0.1:1", "model": "last"}
    head = cutter.stage(["x"], ["half"]) | {"computeAt": ["5ms", "20ms"], "predictedCompute": "20ms"}
    tail = cutter.stage(["half"], ["y"], **far) | {"computeAt": ["1ms", "4ms"], "bytesAt": [4096, 16384]}
    inputs = [[{"name": "x", "shape": [1, 3, size, size]}] for size in (32, 64)]
    return parse_placement(
        cutter.placement(
            [
                cutter.route("full@half", head, tail, bandwidth="1M"),
                cutter.route("full@local", near),
            ],
            shapes={"planned": inputs[1], "measured": [{"inputs": each} for each in inputs]},
        )
    )


def routes() -> tuple[Placement, list[Route]]:
    found = placement()
    return found, list(found.spec.routes)


def test_costs_of_routes_follow_the_shape_of_a_request() -> None:
    shapes = table_shapes(*routes())
    assert shapes is not None
    assert shapes.planned == 3 * 64 * 64
    split, local = shapes.routes
    small = 3 * 32 * 32
    assert split.here is not None
    assert split.beyond is not None
    assert local.here is not None
    assert (split.here.at(small), split.beyond.at(small)) == pytest.approx((0.005, 0.001))
    assert local.here.at(small) == pytest.approx(0.01)
    assert (shapes.bits(0), shapes.bits(1)) == (8 * 16384, 0.0)
    assert shapes.pace(small) == pytest.approx(0.25)
    assert split.bits is not None
    assert split.bits.at(small) == 8 * 4096


def test_a_table_for_one_shape_has_no_costs_by_shape() -> None:
    found, listed = routes()
    spec = found.spec.model_copy(update={"shapes": None})
    assert table_shapes(found.model_copy(update={"spec": spec}), listed) is None


def test_the_shape_of_a_request_is_that_of_one_item() -> None:
    inputs = [Tensor("x", "FP32", (-1, 3, -1, -1)), Tensor("sr", "INT64", ())]
    arrays = {"x": np.zeros((5, 3, 8, 9), np.float32), "sr": np.array(16000)}
    shape = request_shape(inputs, arrays)
    assert shape is not None
    assert shape.shapes() == {"sr": (), "x": (1, 3, 8, 9)}


def test_several_rows_do_not_tell_the_shape_of_one_if_a_state_has_open_sizes() -> None:
    inputs, counts = [Tensor("x", "FP32", (-1, -1)), Tensor("h", "FP32", (2, -1, 8))], RequestShapes()
    one = {"x": np.zeros((1, 7), np.float32), "h": np.zeros((2, 1, 8), np.float32)}
    four = {"x": np.zeros((4, 7), np.float32), "h": np.zeros((2, 4, 8), np.float32)}
    assert request_shape(inputs, four) is None
    for arrays in (four, one):
        counts.add("m", inputs, arrays)
    shapes = [{"name": "h", "shape": [2, 1, 8]}, {"name": "x", "shape": [1, 7]}]
    assert counts.report(1.0) == [{"inputs": shapes, "count": 1}]


def test_only_dimensions_besides_the_batch_are_open() -> None:
    assert is_open([Tensor("x", "FP32", (-1, 3, -1))])
    assert not is_open([Tensor("x", "FP32", (-1, 3, 8)), Tensor("sr", "INT64", ())])


def test_shapes_of_requests_are_reported_at_the_first_one_and_then_once_a_minute() -> None:
    inputs, counts = [Tensor("x", "FP32", (-1, -1))], RequestShapes()
    assert counts.report(0.0) == []
    counts.add("m", inputs, {"x": np.zeros((4, 7), np.float32)})
    first = [{"inputs": [{"name": "x", "shape": [1, 7]}], "count": 1}]
    assert counts.report(1.0) == first
    counts.add("m", inputs, {"x": np.zeros((1, 7), np.float32)})
    assert counts.report(1.0 + EVERY / 2) == first
    assert counts.report(1.0 + EVERY)[0]["count"] == 2


def test_another_model_begins_to_count_at_zero() -> None:
    inputs, counts = [Tensor("x", "FP32", (-1, -1))], RequestShapes()
    counts.add("m", inputs, {"x": np.zeros((1, 7), np.float32)})
    counts.add("n", inputs, {"x": np.zeros((1, 5), np.float32)})
    assert [each["inputs"][0]["shape"] for each in counts.report(0.0)] == [[1, 5]]


def test_a_model_with_only_the_batch_open_has_no_shapes() -> None:
    counts = RequestShapes()
    counts.add("m", [Tensor("x", "FP32", (-1, 7))], {"x": np.zeros((3, 7), np.float32)})
    assert counts.report(0.0) == []
