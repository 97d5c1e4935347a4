"""Models that reject zeros, which clients need not send, are served."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from callers import by_bytes
from edge_runtime.errors import ModelFailed
from edge_runtime.inference.runners import INLINE
from edge_runtime.inference.sessions import Session
from networks import info, model_of, run
from routed import routed


def shares() -> bytes:
    """A thousand divided by each integer, which onnxruntime rejects for 0."""
    nodes = [
        helper.make_node("Mul", ["x", "one"], ["a"]),
        helper.make_node("Cast", ["a"], ["whole"], to=7),
        helper.make_node("Div", ["thousand", "whole"], ["y"]),
    ]
    constants = {"one": np.float32(1), "thousand": np.array([1000], np.int64)}
    weights = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    return model_of(nodes, [info("x", "N", 4)], [info("y", "N", 4, datatype="INT64")], weights)


@pytest.mark.parametrize("cuts", [(), ("a",)], ids=["at the entry node", "over a hop"])
def test_a_slice_that_refuses_zeros_serves_without_a_warm_up(
    cuts: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.array([[1, 2, 3, 4]], np.float32)
    with caplog.at_level(logging.INFO), routed(shares(), "y", cuts, tmp_path) as sockets:
        (answer,) = by_bytes(sockets, "digits", {"x": x}).values()
        np.testing.assert_array_equal(answer, run(shares(), {"x": x})["y"])
    assert any("warm" in r.message and "division by zero" in r.message for r in caplog.records)


def test_what_was_never_run_is_not_run_on_the_event_loop() -> None:
    session = Session(shares())
    with pytest.raises(ModelFailed):
        session.warm()
    assert session.seconds > INLINE
