"""Loading detects models that only fail with several items, and models that cannot be optimized."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import CannotLoad, ModelFailed
from edge_runtime.inference.native import NativeSession
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Tensor
from messages import mentions
from networks import AS_WRITTEN, Array, info, model_of, run

STEPS, SCALE, X, Y = (
    Tensor("steps", "UINT8", (-1, 16)),
    Tensor("scale", "FP32", (-1,)),
    Tensor("x", "FP32", (-1, 4)),
    Tensor("y", "FP32", (-1, 8)),
)


def rows_behind_a_scale_each() -> bytes:
    """A scale for each item, and a quantized weight: onnxruntime fuses both, and assumes one scale."""
    weight = np.random.default_rng(1).integers(-100, 100, (16, 8)).astype(np.int8)
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array(0.02, np.float32), "s")]
    weights += [
        numpy_helper.from_array(np.array(0, np.int8), "z"),
        numpy_helper.from_array(np.array([-1]), "all"),
    ]
    nodes = [
        helper.make_node("Reshape", ["scale", "all"], ["rows"]),
        helper.make_node("DequantizeLinear", ["steps", "rows"], ["h"], axis=0),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["weight"]),
        helper.make_node("MatMul", ["h", "weight"], ["y"]),
    ]
    inputs = [info("steps", "N", 16, datatype="UINT8"), info("scale", "N")]
    return model_of(nodes, inputs, [info("y", "N", 8)], weights)


def one_item_whatever_it_says() -> bytes:
    """The file leaves the batch open, but has a Reshape with a fixed one."""
    shape = numpy_helper.from_array(np.array([1, 4]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return model_of(nodes, [info("x", "N", 4)], [info("y", "N", 4)], [shape])


def test_what_fails_with_two_items_once_it_is_optimized_is_not_loaded() -> None:
    model = rows_behind_a_scale_each()
    session = Session(model, [STEPS, SCALE], [Y])
    one: dict[str, Array] = {"steps": np.ones((1, 16), np.uint8), "scale": np.ones(1, np.float32)}
    two = {name: np.repeat(array, 2, axis=0) for name, array in one.items()}
    assert run(model, two, AS_WRITTEN)["y"].shape == (2, 8)
    session.run(one)
    with pytest.raises(ModelFailed):
        session.run(two)
    with pytest.raises(CannotLoad, match=mentions("one item", 2)):
        session.warm()


def test_a_model_that_takes_one_item_only_is_loaded_all_the_same() -> None:
    session = Session(one_item_whatever_it_says(), [X], [Tensor("y", "FP32", (-1, 4))])
    session.warm()
    assert session.run({"x": np.full((1, 4), 2.0, np.float32)})[0].tolist() == [[2.0] * 4]


@pytest.mark.parametrize("batch", [-1, 1])
def test_several_items_are_tried_where_the_batch_is_open(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    seen: list[int] = []
    whole = Session.run

    def counted(self: Session, feeds: dict[str, Array], *more: Any) -> list[Array]:
        seen.append(len(feeds["x"]))
        return whole(self, feeds, *more)

    monkeypatch.setattr(Session, "run", counted)
    size = "N" if batch < 0 else batch
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [info("x", size, 4)], [info("y", size, 4)])
    Session(model, [Tensor("x", "FP32", (batch, 4))], [Tensor("y", "FP32", (batch, 4))]).warm()
    assert sorted(set(seen)) == ([1, 2] if batch < 0 else [1])


def test_a_model_that_onnxruntime_cannot_optimize_runs_unoptimized(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Node (t_q) output_dtype INT8 does not match y_zero_point type UINT8")

    monkeypatch.setattr(NativeSession, "__init__", broken)
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [info("x", "N", 4)], [info("y", "N", 4)])
    with caplog.at_level(logging.WARNING):
        session = Session(model, [X], [Tensor("y", "FP32", (-1, 4))])
    assert "cannot optimize" in caplog.text
    session.warm()
    assert session.run({"x": np.full((2, 4), -1, np.float32)})[0].tolist() == [[0.0] * 4] * 2


def test_signed_values_that_are_turned_at_the_end_of_a_slice_are_loaded() -> None:
    weights = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        numpy_helper.from_array(np.array(3, np.int8), "z"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Transpose", ["d"], ["y"], perm=[0, 2, 1]),
    ]
    model = model_of(nodes, [info("x", "N", 2, 3)], [info("y", "N", 3, 2)], weights, opset=21)
    session = Session(model, [Tensor("x", "FP32", (-1, 2, 3))], [Tensor("y", "FP32", (-1, 3, 2))])
    session.warm()
    x = np.random.default_rng(2).normal(size=(2, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(session.run({"x": x})[0], run(model, {"x": x})["y"])
