"""A file that is not a model raises one error that names it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from benchmarks.graphs.catalogue import build
from edge_planning import BadValueError
from edge_planning.graphs.onnx_reading import read_graph, read_model
from messages import mentions

Write = Callable[..., ModelProto]


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x00" * 64, b"\x89PNG\r\n\x1a\n", b"{}"])
def test_bytes_that_are_not_an_onnx_file(data: bytes) -> None:
    with pytest.raises(BadValueError, match=mentions("model photo:", "ONNX")):
        read_model(data, name="photo")


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(whole) // 2, len(whole)))
    try:
        graph = read_graph(bytes(whole[:cut]), name="damaged")
    except BadValueError:
        return
    assert set(graph.outputs) <= set(graph.tensors)


SMALL = build("camera_and_sensors").SerializeToString()


def test_a_cycle_is_named(write: Write) -> None:
    model = write([("Add", "x c", "a"), ("Relu", "a", "b"), ("Exp", "b", "c")], {"x": (1, 4)}, {"c": None})
    with pytest.raises(BadValueError, match=mentions("model loop:", "a -> b -> c -> a")):
        read_model(model, name="loop")


def test_a_tensor_from_nowhere_is_named(write: Write) -> None:
    model = write([("Add", "x ghost", "y")], {"x": (1, 4)}, {"y": None})
    with pytest.raises(BadValueError, match=r"model m: .*\by\b.*\bghost\b"):
        read_model(model, name="m")


def test_a_tensor_that_is_made_twice_is_named(write: Write) -> None:
    model = write([("Relu", "x", "y"), ("Exp", "x", "y")], {"x": (1, 4)}, {"y": None})
    with pytest.raises(BadValueError, match=r"model m: .*\by\b.*\by\b"):
        read_model(model, name="m")


def test_an_output_from_nowhere_is_named(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, 4)}, {"y": None, "z": None})
    with pytest.raises(BadValueError, match=r"model m: .*\boutput z\b"):
        read_model(model, name="m")


def test_an_exit_that_needs_no_input_is_named(write: Write) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, 4)}, {"w": (1,)}, weights={"w": np.zeros(1, np.float32)})
    with pytest.raises(BadValueError, match=r"graph m: .*\boutput w\b"):
        read_model(model, name="m", exits=[{"name": "w", "output": "w", "accuracy": 1}])
    with pytest.raises(BadValueError, match=mentions("model m:", "none", "outputs")):
        read_model(model, name="m")


@pytest.mark.parametrize("bound", [0, -3])
def test_a_bound_that_is_not_a_size_is_named(write: Write, bound: int) -> None:
    model = write([("Relu", "x", "y")], {"x": (1, "k")}, {"y": None})
    with pytest.raises(BadValueError, match=f"model m: .*k = {bound}"):
        read_model(model, name="m", bounds={"k": bound})
