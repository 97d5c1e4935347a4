"""Weights that stay in their file: what is detached, that results are equal, and the memory for loading."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import weighty as weighty_module
from edge_runtime.graph_analysis.detached_weights import detached
from edge_runtime.inference.mapped_weights import LARGE, divided
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Tensor
from weighty import WIDTH, weighty

X, Y = ((Tensor(name, "FP32", (-1, WIDTH)),) for name in ("x", "y"))


def light(model: bytes, **more: Any) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.ParseFromString(detached(io.BytesIO(model), len(model), "here", **more))
    return found


def test_large_weights_are_replaced_by_their_places_in_the_file() -> None:
    model = weighty(2, width=256)
    found = {t.name: t for t in light(model).graph.initializer}
    original = {t.name: t for t in onnx.load_model_from_string(model).graph.initializer}
    for name in ("w0", "w1"):
        said = {entry.key: entry.value for entry in found[name].external_data}
        start, length = int(said["offset"]), int(said["length"])
        assert said["location"] == "here"
        assert (found[name].data_location, found[name].raw_data) == (TensorProto.EXTERNAL, b"")
        array = np.frombuffer(model[start : start + length], np.float32).reshape(found[name].dims)
        np.testing.assert_array_equal(array, numpy_helper.to_array(original[name]))
    assert found["shape"] == original["shape"]
    assert found["bias"] == original["bias"]


def test_everything_else_of_a_model_stays_as_it_is() -> None:
    model = weighty(2, width=256)
    found, original = light(model), onnx.load_model_from_string(model)
    for graph in (found.graph, original.graph):
        del graph.initializer[:]
    assert found == original
    assert light(model, least=1 << 20) == onnx.load_model_from_string(model)


@pytest.mark.parametrize("damage", ["cut off", "garbage", "too long a field"])
def test_a_file_that_is_not_a_model_is_not_mapped(tmp_path: Path, damage: str) -> None:
    model = weighty(1) + weighty(1)
    data = {
        "cut off": model[: LARGE + 1],
        "garbage": b"\x07" * (LARGE + 1),
        "too long a field": b"\x3a\xff\xff\xff\xff\x0f" + bytes(LARGE),
    }[damage]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert divided(path) is None


def test_a_small_file_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(weighty(1, width=256))
    assert divided(path) is None


@pytest.mark.parametrize("declared", [True, False], ids=["C API", "Python API"])
@pytest.mark.parametrize("packed", [True, False])
def test_results_equal_those_of_the_whole_file(tmp_path: Path, *, packed: bool, declared: bool) -> None:
    model = weighty(2)
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert divided(path) is not None
    x = np.random.default_rng(1).normal(size=(3, WIDTH)).astype(np.float32)
    session = (
        Session(path, X, Y, mapped=True, packed=packed)
        if declared
        else Session(path, mapped=True, packed=packed)
    )
    assert session.native is declared
    assert session.size == len(model)
    (expected,) = Session(model, X, Y).run({"x": x})
    (found,) = session.run({"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "least", "most"), [(["whole"], 2.5, 4.0), ([], 0.5, 1.6), (["unpacked"], 0.5, 1.4)]
)
def test_loading_from_the_disk_needs_less_than_twice_the_size(
    tmp_path: Path, how: list[str], least: float, most: float
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(weighty(16))
    argv = [sys.executable, str(weighty_module.__file__), str(path), *how]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    assert found["native"]
    assert least < found["peak"] < most
