"""Models whose run time depends on an input: by the iterations of a loop, or within one operator."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOREVER = 10**12


def _info(name: str, kind: int = TensorProto.FLOAT, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _constant(name: str, value: object, kind: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, kind), name)


def _loop(kind: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """`trip` iterations, each of which adds one to `y`; BF16 is computed in float, which onnxruntime
    supports.
    """
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [_info("i", TensorProto.INT64), _info("on", TensorProto.BOOL), _info("sum", TensorProto.FLOAT, 1)],
        [_info("still", TensorProto.BOOL), _info("more", TensorProto.FLOAT, 1)],
        [_constant("one", [1], np.float32)],
    )
    nodes = [
        helper.make_node("Loop", ["trip", "go", "start"], ["rounds"], body=body),
        helper.make_node("Cast", ["rounds"], ["y"], to=kind),
    ]
    return nodes, [_constant("go", True, np.bool_), _constant("start", [0], np.float32)]


def _model(graph: onnx.GraphProto) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = made.SerializeToString()
    return data


def looping(kind: int = TensorProto.FLOAT) -> bytes:
    """As many iterations as `n`, with the result `y` of this type."""
    nodes, constants = _loop(kind)
    nodes = [helper.make_node("Squeeze", ["n"], ["trip"]), *nodes]
    ends = [_info("n", TensorProto.INT64, 1)], [_info("y", kind, 1)]
    return _model(helper.make_graph(nodes, "looping", *ends, constants))


def looping_on_text() -> bytes:
    """The same for a constant number."""
    nodes, constants = _loop(TensorProto.FLOAT)
    read = [
        helper.make_node("Cast", ["n"], ["number"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["number"], ["trip"]),
    ]
    ends = [_info("n", TensorProto.STRING, 1)], [_info("y", TensorProto.FLOAT, 1)]
    return _model(helper.make_graph([*read, *nodes], "looping", *ends, constants))


def looping_behind_a_cut() -> bytes:
    """A head that forwards `image` as `cut`, and a tail with as many iterations: `logits`."""
    nodes, constants = _loop(TensorProto.FLOAT)
    read = [
        helper.make_node("Relu", ["image"], ["cut"]),
        helper.make_node("Cast", ["cut"], ["number"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["number"], ["trip"]),
    ]
    nodes[-1].output[0] = "logits"
    ends = [_info("image", TensorProto.FLOAT, 1)], [_info("logits", TensorProto.FLOAT, 1)]
    return _model(helper.make_graph([*read, *nodes], "split", *ends, constants))


def endless_on_zeros() -> bytes:
    """Iterates while `n` is less than 1."""
    body = helper.make_graph(
        [helper.make_node("Less", ["n", "one"], ["still"]), helper.make_node("Identity", ["sum"], ["more"])],
        "body",
        [_info("i", TensorProto.INT64), _info("on", TensorProto.BOOL), _info("sum", TensorProto.FLOAT)],
        [_info("still", TensorProto.BOOL), _info("more", TensorProto.FLOAT)],
        [_constant("one", 1, np.float32)],
    )
    nodes = [
        helper.make_node("Squeeze", ["x"], ["n"]),
        helper.make_node("Loop", ["", "go", "n"], ["y"], body=body),
    ]
    ends = [_info("x", TensorProto.FLOAT, 1)], [_info("y", TensorProto.FLOAT)]
    return _model(helper.make_graph(nodes, "endless", *ends, [_constant("go", True, np.bool_)]))


def in_one_operator() -> bytes:
    """Keeps `y` of `n` disjoint boxes: one operator compares each with all before it."""
    flat, column = np.array([-1]), np.array([1, -1, 1])
    nodes = [
        helper.make_node("Squeeze", ["n"], ["count"]),
        helper.make_node("Range", ["zero", "count", "step"], ["at"]),
        helper.make_node("Cast", ["at"], ["left"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["left", "column"], ["x0"]),
        helper.make_node("Add", ["x0", "half"], ["x1"]),
        helper.make_node("Mul", ["x0", "none"], ["y0"]),
        helper.make_node("Add", ["y0", "half"], ["y1"]),
        helper.make_node("Concat", ["y0", "x0", "y1", "x1"], ["boxes"], axis=2),
        helper.make_node("Reshape", ["left", "row"], ["apart"]),
        helper.make_node("Mul", ["apart", "none"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["kept"]),
        helper.make_node("Shape", ["kept"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["number"]),
        helper.make_node("Reshape", ["number", "flat"], ["y"]),
    ]
    constants = [
        *(_constant(name, value, np.int64) for name, value in (("zero", 0), ("step", 1))),
        *(_constant(name, value, np.float32) for name, value in (("half", 0.5), ("none", 0))),
        _constant("most", [2**31 - 1], np.int64),
        _constant("overlap", [0.5], np.float32),
        *(_constant(name, value, np.int64) for name, value in (("column", column), ("flat", flat))),
        _constant("row", [1, 1, -1], np.int64),
    ]
    ends = [_info("n", TensorProto.INT64, 1)], [_info("y", TensorProto.INT64, 1)]
    return _model(helper.make_graph(nodes, "apart", *ends, constants))


def document(n: int, name: str = "n", datatype: str = "INT64", **parameters: Any) -> dict[str, Any]:
    """A request for this many iterations."""
    tensor = {"name": name, "shape": [1], "datatype": datatype, "data": [n]}
    return {"inputs": [tensor], "parameters": parameters}


def request(n: int, model: str = "m", **more: Any) -> bytes:
    """The same request as bytes on the wire."""
    content = json.dumps(document(n, **more)).encode()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def sent(port: int, data: bytes) -> socket.socket:
    """A connection on which this was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(data)
    return connection


def running(port: int, service: str = "m") -> float:
    """Seconds since the start of the current run of the server at this port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text = response.read().decode()
    name = f'edge_inference_running_seconds{{service="{service}"}} '
    return float(next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name))
