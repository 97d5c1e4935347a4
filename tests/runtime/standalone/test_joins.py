"""Concurrent HTTP clients of a detector each get the boxes of their own image."""

from __future__ import annotations

import logging
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as over_http
from onnx import helper, numpy_helper

from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Array
from networks import info, model_of


def detector(width: int = 500) -> bytes:
    """Images of ten lines to the nonempty lines, after a slow backbone.

    The file names the boxes' first dimension like that of the images, as exporters do.
    """
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(width, width)).astype(np.float32),
        "zero": np.float32(0),
        "least": np.float32(0.5),
        "lines": np.array([-1, 6], np.int64),
        "flat": np.array([-1], np.int64),
        "axis": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["w", "w"], ["w2"]),
        helper.make_node("Gather", ["x", "first"], ["corner"], axis=2),
        helper.make_node("ReduceMax", ["corner"], ["scale"], keepdims=0),
        helper.make_node("Mul", ["w2", "scale"], ["w3"]),
        helper.make_node("MatMul", ["w3", "w"], ["w4"]),
        helper.make_node("ReduceMean", ["w4"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "nothing"], ["delayed"]),
        helper.make_node("Greater", ["delayed", "least"], ["hits"]),
        helper.make_node("Reshape", ["hits", "flat"], ["hit"]),
        helper.make_node("Reshape", ["x", "lines"], ["all"]),
        helper.make_node("Compress", ["all", "hit"], ["boxes"], axis=0),
    ]
    constants["first"] = np.array(0, np.int64)
    weights = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    return model_of(nodes, [info("x", "batch", 10, 6)], [info("boxes", "batch", 6)], weights)


def picture(tag: int, boxes: int, rows: int = 1) -> Array:
    found = np.zeros((rows, 10, 6), np.float32)
    for i in range(boxes):
        found[:, i] = tag + i
    return found


def test_every_client_gets_the_boxes_of_its_own_pictures(serve: Callable[[bytes], Any]) -> None:
    """As many boxes as images pass the batch check; then one has two boxes and another none."""
    model = detector()
    served, alone = serve(model), Session(model)
    wrong: list[tuple[list[float], list[float]]] = []

    def ask(x: Array) -> None:
        expected = alone.run({"x": x})[0]
        client = over_http.InferenceServerClient(f"127.0.0.1:{served.http}")
        for _ in range(40):
            given = over_http.InferInput("x", list(x.shape), "FP32")
            given.set_data_from_numpy(x)
            found = client.infer("m", [given]).as_numpy("boxes")
            if found.shape != expected.shape or not np.array_equal(found, expected):
                wrong.append((expected[:, 0].tolist(), found[:, 0].tolist()))
        client.close()

    for pictures in (
        [picture(100, 1), picture(200, 1)],
        [picture(300, 2), picture(0, 0)],
        [picture(400, 1, rows=2), picture(500, 2), picture(0, 0)],
    ):
        threads = [threading.Thread(target=ask, args=(x,)) for x in pictures for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []


def test_why_requests_run_alone_is_said_once_and_counted(
    serve_with: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        served = serve_with(detector())
        client = over_http.InferenceServerClient(f"127.0.0.1:{served.http}")
        for _ in range(3):
            given = over_http.InferInput("x", [1, 10, 6], "FP32")
            given.set_data_from_numpy(picture(1, 1))
            client.infer("m", [given])
        client.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{served.http}/metrics", timeout=10) as response:
            metrics = response.read().decode()
    assert 'edge_sessions{requests="alone",service="m"} 1.0' in metrics
    assert 'edge_sessions{requests="together",service="m"} 0.0' in metrics
    said = [r.getMessage() for r in caplog.records if "not batched" in r.getMessage()]
    assert len(said) == 1
    assert "ReduceMax" in said[0]
