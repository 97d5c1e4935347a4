"""Compares the responses of `edge-runtime serve` and of a real Triton to valid and invalid requests.

`python -m benchmarks.runtime.differences` prints a table of differences, then the number of equal responses.
Triton is that of the wheel nvidia-pytriton, with a python-backend model that runs the same file.
"""

import gzip
import http.client
import json
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import onnx
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2 as pb

from benchmarks.runtime.clients import HttpConnection, grpc_call
from benchmarks.runtime.commands import say
from benchmarks.runtime.peers import free_port, install, running, triton_command

_TRITON = """
input [{name: "a", data_type: TYPE_FP32, dims: [-1, 3]}, {name: "k", data_type: TYPE_INT8, dims: [-1]}]
output [{name: "y", data_type: TYPE_FP32, dims: [-1, 3]}, {name: "z", data_type: TYPE_INT8, dims: [-1]}]
"""
A: dict[str, Any] = {"name": "a", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}
K: dict[str, Any] = {"name": "k", "shape": [1], "datatype": "INT8", "data": [7]}
INFER = "/v2/models/m/infer"


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request."""

    what: str
    method: str = "POST"
    path: str = INFER
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def _infer(what: str, *inputs: Any, headers: dict[str, str] | None = None, **more: Any) -> Ask:  # noqa: ANN401
    document = {"inputs": list(inputs) or [A, K], **more}
    return Ask(what, body=json.dumps(document).encode(), headers=headers or {})


def http_cases() -> Iterator[Ask]:
    """Returns the HTTP requests."""
    good = json.dumps({"inputs": [A, K]}).encode()
    for what, path in {
        "live": "/v2/health/live",
        "ready": "/v2/health/ready",
        "server metadata": "/v2",
        "model metadata": "/v2/models/m",
        "model metadata, version 1": "/v2/models/m/versions/1",
        "model ready": "/v2/models/m/ready",
        "unknown model ready": "/v2/models/other/ready",
        "unknown version ready": "/v2/models/m/versions/9/ready",
        "unknown model metadata": "/v2/models/other",
        "model configuration": "/v2/models/m/config",
        "unknown model configuration": "/v2/models/other/config",
        "statistics": "/v2/models/m/stats",
        "statistics of all models": "/v2/models/stats",
        "unknown model statistics": "/v2/models/other/stats",
        "unknown path": "/v3",
        "models listed": "/v2/models",
        "infer by GET": INFER,
    }.items():
        yield Ask(what, "GET", path)
    yield Ask("repository index", path="/v2/repository/index")
    yield Ask("repository index, body []", path="/v2/repository/index", body=b"[]")
    yield Ask("load a model", path="/v2/repository/models/m/load", body=b"{}")
    yield Ask("good", body=good)
    yield Ask("good, gzip", body=gzip.compress(good), headers={"Content-Encoding": "gzip"})
    yield Ask("good, deflate", body=zlib.compress(good), headers={"Content-Encoding": "deflate"})
    yield Ask("said to be gzip, is not", body=good, headers={"Content-Encoding": "gzip"})
    yield Ask("an encoding that is unknown", body=good, headers={"Content-Encoding": "br"})
    yield _infer("binary outputs", parameters={"binary_data_output": True})
    yield _infer("a subset of outputs", outputs=[{"name": "z"}])
    yield _infer("unknown output", outputs=[{"name": "nope"}])
    yield _infer("an output twice", outputs=[{"name": "z"}, {"name": "z"}])
    yield _infer("classification", outputs=[{"name": "y", "parameters": {"classification": 1}}])
    yield _infer("more classes than there are", outputs=[{"name": "y", "parameters": {"classification": 99}}])
    yield _infer("no classes", outputs=[{"name": "y", "parameters": {"classification": 0}}])
    yield _infer("-1 classes", outputs=[{"name": "y", "parameters": {"classification": -1}}])
    yield _infer("priority 1", parameters={"priority": 1})
    yield _infer("priority beyond the levels", parameters={"priority": 99})
    yield _infer("priority -1", parameters={"priority": -1})
    yield _infer("nested data", {**A, "data": [[1.0, 2.0, 3.0]]}, K)
    yield _infer("an id", id="r-1")
    yield _infer("an id that is a number", id=1)
    yield _infer("unknown parameter", parameters={"colour": "red"})
    yield _infer("a timeout of 1 s", parameters={"timeout": 1_000_000})
    yield Ask("empty body")
    yield Ask("not JSON", body=b"{")
    yield Ask("a list", body=b"[]")
    yield Ask("no inputs", body=b"{}")
    yield _infer("an input is missing", A)
    yield _infer("an input twice", A, A, K)
    yield _infer("unknown input", {**A, "name": "b"}, K)
    yield _infer("one input too many", A, K, {**A, "name": "b"})
    yield _infer("wrong datatype", {**A, "datatype": "FP64"}, K)
    yield _infer("unknown datatype", {**A, "datatype": "FP7"}, K)
    yield _infer("no datatype", {k: v for k, v in A.items() if k != "datatype"}, K)
    yield _infer("wrong shape", {**A, "shape": [3, 1]}, K)
    yield _infer("wrong rank", {**A, "shape": [3]}, K)
    yield _infer("negative shape", {**A, "shape": [-1, 3]}, K)
    yield _infer("empty batch", {**A, "shape": [0, 3], "data": []}, {**K, "shape": [0], "data": []})
    yield _infer("shape of words", {**A, "shape": ["1", "3"]}, K)
    yield _infer("too little data", {**A, "data": [1.0]}, K)
    yield _infer("too much data", {**A, "data": [1.0] * 4}, K)
    yield _infer("no data", {k: v for k, v in A.items() if k != "data"}, K)
    yield _infer("words as numbers", {**A, "data": ["1", "2", "3"]}, K)
    yield _infer("null as a number", {**A, "data": [None, 1.0, 2.0]}, K)
    yield _infer("true as a number", {**A, "data": [True, 1.0, 2.0]}, K)
    yield _infer("a number beyond FP32", {**A, "data": [1e300, 1.0, 2.0]}, K)
    yield _infer("a fraction for INT8", A, {**K, "data": [1.5]})
    yield _infer("300 for INT8", A, {**K, "data": [300]})
    yield _infer("shared memory that is not there", {**A, "parameters": {"shared_memory_region": "r"}}, K)
    yield _infer("binary size without bytes", {**A, "data": None, "parameters": {"binary_data_size": 12}}, K)
    for wrong in ("999999", "-1", "x", "0"):
        yield Ask(f"header length {wrong}", body=good, headers={"Inference-Header-Content-Length": wrong})
    raw = {k: v for k, v in A.items() if k != "data"} | {"parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [raw, K]}).encode()
    length = {"Inference-Header-Content-Length": str(len(header))}
    yield Ask("binary input", body=header + bytes(12), headers=length)
    yield Ask("binary input, too few bytes", body=header + bytes(8), headers=length)
    yield Ask("binary input, bytes left over", body=header + bytes(16), headers=length)
    yield _infer("huge shape, no data", {**A, "shape": [1 << 40, 3], "data": []}, K)
    yield _infer("shape that overflows, no data", {**A, "shape": [1 << 62, 3], "data": []}, K)


def grpc_cases() -> Iterator[tuple[str, bytes]]:
    """Returns the gRPC requests to ModelInfer."""

    def request(**more: Any) -> Any:  # noqa: ANN401
        made = pb.ModelInferRequest(model_name="m", **more)
        made.inputs.add(name="a", datatype="FP32", shape=[1, 3])
        made.inputs.add(name="k", datatype="INT8", shape=[1])
        return made

    def raw(*parts: bytes, **more: Any) -> Any:  # noqa: ANN401
        made = request(**more)
        made.raw_input_contents.extend(parts)
        return made

    good = (bytes(12), b"\x07")
    typed = request()
    typed.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    typed.inputs[1].contents.int_contents.append(7)
    yield "good, raw", raw(*good).SerializeToString()
    yield "good, typed", typed.SerializeToString()
    yield "raw and typed", raw(*good, inputs=[]).SerializeToString() + typed.SerializeToString()
    typed.inputs[1].contents.int_contents[0] = 300
    yield "300 for INT8, typed", typed.SerializeToString()
    yield "too few raw contents", raw(good[0]).SerializeToString()
    yield "too few bytes", raw(bytes(8), b"\x07").SerializeToString()
    yield "no contents", request().SerializeToString()
    yield "unknown model", raw(*good, model_version="").SerializeToString() + b"\x0a\x05other"
    yield "unknown version", raw(*good, model_version="9").SerializeToString()
    yield "version that is not a number", raw(*good, model_version="x").SerializeToString()
    made = raw(*good)
    made.inputs[0].shape[:] = [3, 1]
    yield "wrong shape", made.SerializeToString()
    made = raw(*good)
    made.inputs[0].datatype = "FP64"
    yield "wrong datatype", made.SerializeToString()
    made = raw(*good)
    made.inputs[0].name = "b"
    yield "unknown input", made.SerializeToString()
    made = raw(*good)
    made.outputs.add(name="nope")
    yield "unknown output", made.SerializeToString()
    yield "no message", b"\xff\xff\xff"


def main() -> int:
    """Sends all requests to both and prints the table."""
    with tempfile.TemporaryDirectory(prefix="differences-") as name, ExitStack() as stack:
        folder = Path(name)
        model = folder / "model.onnx"
        model.write_bytes(_model())
        ours = _One(stack, folder / "ours", model, triton=False)
        triton = _One(stack, folder / "triton", model, triton=True)
        sys.stdout.write("| request | edge-runtime | Triton |\n| --- | --- | --- |\n")
        asked = same = 0
        for ask in http_cases():
            asked += 1
            same += _row(f"HTTP: {ask.what}", ours.http(ask), triton.http(ask))
        for what, data in grpc_cases():
            asked += 1
            same += _row(f"gRPC: {what}", ours.grpc(data), triton.grpc(data))
        sys.stdout.write(f"\n{same} of {asked} requests return the same code.\n")
    return 0


def _row(what: str, ours: tuple[str, str], triton: tuple[str, str]) -> bool:
    """Writes a row if the codes differ; returns whether they are equal."""
    if ours[0] == triton[0]:
        return True
    sys.stdout.write(f"| {what} | {' '.join(ours).strip()} | {' '.join(triton).strip()} |\n")
    return False


class _One:
    """One of the two servers, restarted if a request ends it."""

    def __init__(self, stack: ExitStack, folder: Path, model: Path, *, triton: bool) -> None:
        self._stack, self._folder, self._model, self._triton = stack, folder, model, triton
        self._start()

    def _start(self) -> None:
        http_port, grpc_port = free_port(), free_port()
        self._folder.mkdir(exist_ok=True)
        if self._triton:
            python = install("triton", say)
            command = triton_command(
                python, _TRITON, self._model, self._folder, http=http_port, grpc=grpc_port
            )
        else:
            argv = [sys.executable, "-m", "edge_runtime.cli", "serve", str(self._model), "--name", "m"]
            command = ([*argv, "--http-port", str(http_port), "--grpc-port", str(grpc_port)], {})
        self._server = self._stack.enter_context(
            running("server", command, self._folder, http_port, grpc_port)
        )
        HttpConnection(http_port).socket.close()
        self._call = grpc_call(grpc_port)

    def http(self, ask: Ask) -> tuple[str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.http, timeout=10)
        try:
            connection.request(ask.method, ask.path, ask.body, ask.headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            return self._lost(error)
        finally:
            connection.close()
        return str(response.status), _said(body) if response.status != 200 else ""

    def grpc(self, data: bytes) -> tuple[str, str]:
        try:
            self._call(data)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                return self._lost(error)
            return error.code().name, _short(error.details() or "")
        return "OK", ""

    def _lost(self, error: Exception) -> tuple[str, str]:
        try:
            self._server.process.wait(5)
        except Exception:
            return "no response", _short(repr(error))
        self._start()
        return "the server ends", ""


def _said(body: bytes) -> str:
    try:
        return _short(str(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        return _short(body.decode("latin-1"))


def _short(text: str) -> str:
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= 110 else f"{line[:109]}…"


def _model() -> bytes:
    """Y = a + a, z = k: an input of floats and one of small integers."""
    shapes: dict[str, list[str | int | None]] = {"a": ["N", 3], "y": ["N", 3], "k": ["M"], "z": ["M"]}
    kinds = {"a": TensorProto.FLOAT, "y": TensorProto.FLOAT, "k": TensorProto.INT8, "z": TensorProto.INT8}
    info = {n: helper.make_tensor_value_info(n, kinds[n], shapes[n]) for n in shapes}
    nodes = [helper.make_node("Add", ["a", "a"], ["y"]), helper.make_node("Identity", ["k"], ["z"])]
    graph = helper.make_graph(nodes, "both", [info["a"], info["k"]], [info["y"], info["z"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    sys.exit(main())
