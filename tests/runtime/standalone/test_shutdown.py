"""Shutdown of a server: received requests get responses, even if they are still unread."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import endless
from edge_runtime.model_statistics import ModelStatistics
from edge_runtime.requests import InferenceRequest
from edge_runtime.responses import InferenceResponse
from edge_runtime.rest.app import RestApp
from edge_runtime.serving import Service
from edge_runtime.tensors import Contract, Tensor
from waiting import until

CALLERS = 60
WIDTH = 400
ROWS = 64


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server, and its port, that takes a few milliseconds for each request."""
    tensor = helper.make_tensor_value_info
    weights = [numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), f"w{i}") for i in range(8)]
    names = ["x", *(f"h{i}" for i in range(7)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(8)]
    ends = [tensor(name, TensorProto.FLOAT, ["N", WIDTH]) for name in "xy"]
    graph = helper.make_graph(nodes, "busy", ends[:1], ends[1:], initializer=weights)
    path = tmp_path / "busy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    argv = [sys.executable, "-m", "edge_runtime.cli", "serve", str(path), "--threads", "1"]
    argv += ["--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"HTTP on 127.0.0.1:(\d+)", process.stdout.readline())
        assert found is not None
        yield process, int(found[1])
        process.kill()


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_of_requests_that_have_arrived_none_is_lost(
    busy: tuple[subprocess.Popen[str], int], numbers: tuple[signal.Signals, ...]
) -> None:
    process, port = busy
    values = ",".join(["0.125"] * (WIDTH * ROWS))
    body = f'{{"inputs":[{{"name":"x","shape":[{ROWS},{WIDTH}],"datatype":"FP32","data":[{values}]}}]}}'
    head = f"POST /v2/models/busy/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    callers = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(CALLERS)]
    try:
        for caller in callers:
            caller.sendall((head + body).encode())
        for number in numbers:
            process.send_signal(number)
        answers = [caller.recv(15) for caller in callers]
        assert answers == [b"HTTP/1.1 200 OK"] * CALLERS
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        for caller in callers:
            caller.close()


@contextmanager
def command(model: bytes, folder: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`edge-runtime serve` as a process."""
    (folder / "m.onnx").write_bytes(model)
    argv = [sys.executable, "-m", "edge_runtime.cli", "serve", str(folder / "m.onnx"), "--http-port", "0"]
    argv += ["--grpc-port", "0", *flags]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    found = re.search(r"HTTP on 127.0.0.1:(\d+)", process.stdout.readline())
    assert found is not None
    return int(found[1])


def said_at_the_end(process: subprocess.Popen[str]) -> str:
    assert process.wait(60) == 0
    assert process.stderr is not None
    return process.stderr.read()


def test_an_endless_run_ends_with_the_server_and_its_client_gets_an_error(tmp_path: Path) -> None:
    with command(endless.looping(), tmp_path, "--grace", "200ms") as process:
        port = port_of(process)
        with endless.sent(port, endless.request(endless.FOREVER)) as caller:
            until(lambda: endless.running(port) > 0, "it runs")
            process.terminate()
            assert caller.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        said = said_at_the_end(process)
        assert not [line for line in said.splitlines() if not line.startswith("INFO ")], said


@pytest.mark.parametrize("stays", [True, False])
def test_an_operator_that_does_not_return_keeps_the_server_from_being_ready_but_not_from_ending(
    tmp_path: Path, stays: bool
) -> None:
    """It cannot be ended; other requests get responses nevertheless."""
    with command(endless.in_one_operator(), tmp_path, "--grace", "1s", "--stuck-after", "500ms") as process:
        port = port_of(process)
        with endless.sent(port, endless.request(3_000_000)) as caller:
            until(lambda: _status(port, "/v2/health/ready") == 503, "it is not ready")
            if not stays:
                caller.close()
            assert _status(port, "/v2/health/live") == 200
            process.terminate()
            if stays:
                assert caller.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
            assert "does not return" in said_at_the_end(process)


def test_a_server_whose_warm_up_does_not_end_stops_on_sigterm(tmp_path: Path) -> None:
    with command(endless.endless_on_zeros(), tmp_path) as process:
        # In the process of its trial, for a while.
        until(lambda: _seconds_of_children(process.pid) > 2.0, "it runs")
        process.terminate()
        assert "Traceback" not in said_at_the_end(process)
        assert process.stdout is not None
        assert process.stdout.read() == ""


def _seconds_of_children(process: int) -> float:
    """Processor time of the living children."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == process:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _status(port: int, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


class _Model:
    platform = "test"
    statistics = ModelStatistics()
    message = ""
    contract = Contract([Tensor("x", "FP32", (1,))], [Tensor("y", "FP32", (1,))])

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        return InferenceResponse([request.inputs["x"]], {})


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/nothing"])
async def test_a_server_that_shuts_down_closes_kept_connections(path: str) -> None:
    service = Service("m", _Model())
    app = RestApp(service, lambda: b"")
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.0]}]}'
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://m") as client:
        before = await client.post(path, content=body)
        service.draining = True
        after = await client.post(path, content=body)
    assert "connection" not in before.headers
    assert after.headers["connection"] == "close"
    assert (after.status_code, after.content) == (before.status_code, before.content)
