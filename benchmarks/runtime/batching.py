"""Measures batching: a server that runs one request at a time, and one that batches up to 8.

Run alone: `.venv/bin/python -m benchmarks.runtime.batching [--quick]`. Both serve the same model with one
thread on the same CPU, and alternately receive blocks of requests from a client on another CPU.
Prints one JSON object as its last line.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import ModelProto

from benchmarks.graphs.nets import Net
from benchmarks.graphs.residual import mobilenet_v2
from benchmarks.runtime.clients import HttpConnection, latencies, open_loop
from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.quantiles import quantile

_CLIENTS: Final = 16
_CONNECTIONS: Final = 200
_SIZES: Final = (1, 8)
_LOADS: Final = (0.9, 1.3)
_DEADLINE: Final = 10.0  # multiple of the latency of a single caller

Request = Callable[[float | None], bytes]


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """By model: `alone_ms`; `throughput_rps` and `p99_ms` of 16 callers who never pause, and `gain`, the
    median over the rounds of the ratio of both; `in_time`, the share of responses within `deadline_ms` for
    Poisson arrivals at 0.9 and 1.3 times the capacity without batching.
    """
    processors = len(os.sched_getaffinity(0))
    found: dict[str, object] = {"threads": 1, "clients": _CLIENTS, "processors": processors}
    for name, build in _MODELS.items():
        model = build()
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        found[name] = _compare(name, path, _request(model), say, quick=quick)
    return {"batching": found}


def _compare(name: str, path: Path, request: Request, say: Say, *, quick: bool) -> dict[str, object]:
    rounds, seconds = (2, 0.7) if quick else (5, 2.0)
    with ExitStack() as stack:
        ports = {size: stack.enter_context(_served(path, size)) for size in _SIZES}
        plain = request(None)
        for port in ports.values():
            _saturated(port, plain, 1.0)
        caller = HttpConnection(ports[1])
        alone = float(np.median(latencies(lambda: caller.ask(plain), 20 if quick else 200)))
        caller.socket.close()
        rates: dict[int, list[float]] = {size: [] for size in _SIZES}
        times: dict[int, list[float]] = {size: [] for size in _SIZES}
        for turn in range(rounds):
            for size in _SIZES if turn % 2 else reversed(_SIZES):
                rate, took = _saturated(ports[size], plain, seconds)
                rates[size].append(rate)
                times[size] += took
        gain = float(np.median([b / a for a, b in zip(rates[1], rates[8], strict=True)]))
        capacity, deadline = float(np.median(rates[1])), _DEADLINE * alone
        say(
            f"{name}: {alone * 1e3:.2f} ms alone, {capacity:.0f} requests/s one by one, "
            f"x {gain:.2f} in batches"
        )
        shares: dict[str, dict[str, float]] = {}
        rng = np.random.default_rng(5)
        for load in _LOADS:
            kept: dict[int, list[bool]] = {size: [] for size in _SIZES}
            for turn in range(rounds):
                count = max(int(load * capacity * seconds), 1)
                arrivals = np.cumsum(rng.exponential(1 / (load * capacity), size=count)).tolist()
                for size in _SIZES if turn % 2 else reversed(_SIZES):
                    took = open_loop(ports[size], request(deadline), arrivals, _CONNECTIONS)
                    kept[size] += [each <= deadline for each in took]
            shares[str(load)] = {f"max_batch_{s}": round(float(np.mean(k)), 4) for s, k in kept.items()}
            say(f"{name}: in time at {load} of one by one: {shares[str(load)]}")
    return {
        "alone_ms": round(1e3 * alone, 3),
        "throughput_rps": {f"max_batch_{s}": round(float(np.median(r)), 1) for s, r in rates.items()},
        "p99_ms": {f"max_batch_{s}": round(1e3 * quantile(sorted(t), 0.99), 3) for s, t in times.items()},
        "gain": round(gain, 3),
        "deadline_ms": round(1e3 * deadline, 1),
        "in_time": shares,
    }


def _saturated(port: int, request: bytes, seconds: float) -> tuple[float, list[float]]:
    """Responses per second and their latencies, with callers in a closed loop without pauses."""
    found: list[float] = []
    with selectors.DefaultSelector() as selector:
        asked: dict[HttpConnection, float] = {}
        for connection in [HttpConnection(port) for _ in range(_CLIENTS)]:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            asked[connection] = time.perf_counter()
            connection.socket.sendall(request)
        start = time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            for key, _ in selector.select(1.0):
                connection = key.data
                if connection.feed(connection.socket.recv(1 << 20)):
                    now = time.perf_counter()
                    found.append(now - asked[connection])
                    asked[connection] = now
                    connection.socket.sendall(request)
        for connection in asked:
            connection.socket.close()
    return len(found) / (now - start), found


def _request(model: ModelProto) -> Request:
    """Returns a request for one row with this timeout in seconds."""
    (given,) = model.graph.input
    shape = [1, *(d.dim_value for d in given.type.tensor_type.shape.dim[1:])]
    data = np.random.default_rng(1).normal(size=shape).astype(np.float32).tobytes()
    tensor = {"name": given.name, "shape": shape, "datatype": "FP32"}

    def make(within: float | None) -> bytes:
        document: dict[str, Any] = {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
            "parameters": {"binary_data_output": True},
        }
        if within is not None:
            document["parameters"]["timeout"] = int(1e6 * within)
        header = json.dumps(document).encode()
        head = (
            "POST /v2/models/m/infer HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {len(header)}\r\n"
            f"Content-Length: {len(header) + len(data)}\r\n\r\n"
        )
        return head.encode() + header + data

    return make


@contextmanager
def _served(path: Path, size: int) -> Iterator[int]:
    """Runs a server in a process of its own on the last CPU; yields its HTTP port."""
    command = [
        sys.executable,
        "-m",
        "edge_runtime.cli",
        "serve",
        str(path),
        "--name",
        "m",
        "--http-port",
        "0",
    ]
    command += ["--grpc-port", "0", "--threads", "1", "--max-batch", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            said = process.stdout.readline()
            yield int(said.split("HTTP on 127.0.0.1:")[1].split(",")[0])
        finally:
            process.send_signal(signal.SIGTERM)


def _perceptron() -> ModelProto:
    """Eight dense layers of 2048: each run reads 128 MiB of weights, for any number of rows."""
    net = Net("perceptron")
    x = net.input("x", ("batch", 2048))
    for depth in range(8):
        x = net.node("Relu", [net.connected(x, 2048, 2048, f"dense{depth}")])
    net.output(x, ("batch", 2048))
    return net.model()


def _small_cnn() -> ModelProto:
    """Four convolutions and a classifier for images of 3 x 96 x 96."""
    net = Net("small_cnn")
    x = net.input("image", ("batch", 3, 96, 96))
    for filters in (32, 64, 128, 128):
        x = net.node("Relu", [net.convolution(x, filters, 3, stride=2, pad=1)])
    net.output(net.classifier(x, 10), ("batch", 10))
    return net.model()


_MODELS: Final[dict[str, Callable[[], ModelProto]]] = {
    "perceptron": _perceptron,
    "small_cnn": _small_cnn,
    "mobilenet_v2": lambda: mobilenet_v2(128),
}


if __name__ == "__main__":
    sys.exit(command("batching", __doc__, measure))
