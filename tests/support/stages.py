"""Two stages of one model, each a real runtime: an entry node whose only route has a hop to the next."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_runtime.cli import _parser
from edge_runtime.memoization.settings import OFF, MemoizationSettings
from edge_runtime.server import run
from edge_runtime.slicing.graphs import Graph
from edge_runtime.standalone import serve_standalone
from edge_runtime.tls.certificates import Certificates
from edge_runtime.tracing.spans import Spans
from loops import in_thread


@contextmanager
def alone(
    path: Path,
    *,
    name: str = "m",
    host: str = "127.0.0.1",
    uds: Path | None = None,
    certificates: Certificates | None = None,
    health_port: int | None = None,
    spans: Spans | None = None,
    memoization: MemoizationSettings = OFF,
) -> Iterator[tuple[int, int, str]]:
    """Serves the model in a file; yields the ports of HTTP and gRPC, and the printed lines."""
    said: Future[str] = Future()

    async def main(stop: asyncio.Event) -> None:
        try:
            await serve_standalone(
                path,
                stop,
                name=name,
                host=host,
                http_port=0,
                grpc_port=0,
                threads=1,
                uds=uds,
                certificates=certificates,
                health_port=health_port,
                spans=spans,
                memoization=memoization,
                say=said.set_result,
            )
        except BaseException as error:
            if not said.done():
                said.set_exception(error)
            raise

    with in_thread(main):
        text = said.result(30)
        http, grpc = (int(re.findall(rf"{kind} on \S+:(\d+),", text)[0]) for kind in ("HTTP", "gRPC"))
        if uds is not None:
            _until_ready(uds)
        yield http, grpc, text


def split(model: bytes, cut: str, folder: Path, address: str) -> tuple[Path, dict[str, Any]]:
    """The tail in a file, and the placement of an entry node whose cache has the head."""
    graph = Graph(model)
    head, tail = graph.slice(["image"], [cut]), graph.slice([cut], ["logits"])
    (folder / "tail.onnx").write_bytes(tail)
    digests = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (head, tail)]
    (folder / "cache" / "slices").mkdir(parents=True)
    (folder / "cache" / "slices" / digests[0].removeprefix("sha256:")).write_bytes(head)

    def described(digest: str, start: str, end: str) -> dict[str, Any]:
        inputs, outputs = graph.contract([start], [end])
        return {
            "digest": digest,
            "inputs": [t.document() for t in inputs],
            "outputs": [t.document() for t in outputs],
        }

    ends = described(digests[0], "image", "logits")
    stages = [
        {"place": "edge-a", "runtime": "Edge", "slice": described(digests[0], "image", cut)},
        {
            "place": "edge-b",
            "runtime": "Edge",
            "address": address,
            "model": "tail",
            "slice": described(digests[1], cut, "logits"),
        },
    ]
    route = {
        "name": f"final@{cut}",
        "exit": "final",
        "cut": cut,
        "accuracy": 0.97,
        "minBandwidth": "0",
        "predictedLatency": "10ms",
        "stages": stages,
    }
    return folder / "tail.onnx", {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "Placement",
        "metadata": {"name": "digits-edge-a", "namespace": "default", "generation": 1},
        "spec": {
            "service": "digits",
            "node": "edge-a",
            "mode": "CloudOnly",
            "model": {"digest": digests[0], "inputs": ends["inputs"], "outputs": ends["outputs"]},
            "slo": {"latency": "2s", "percentile": 95},
            "routes": [route],
        },
    }


@contextmanager
def entry(
    folder: Path,
    placement: dict[str, Any],
    *,
    certificates: Certificates | None = None,
    spans: Spans | None = None,
    http_port: int = 0,
) -> Iterator[Path]:
    """The runtime of the entry node, which needs no model store; yields the folder of its sockets."""
    (folder / "placement.json").write_text(json.dumps(placement))
    named = {"service": "digits", "namespace": "default", "node": "edge-a", "store": "http://127.0.0.1:9"}
    named |= {"cache-dir": str(folder / "cache"), "placement-file": str(folder / "placement.json")}
    named |= {"host": "127.0.0.1", "http-port": str(http_port), "grpc-port": "0", "uds": str(folder / "uds")}
    arguments = _parser().parse_args(["run", *(f"--{name}={value}" for name, value in named.items())])
    with in_thread(lambda stop: run(arguments, stop, drain=0.0, certificates=certificates, spans=spans)):
        _until_ready(folder / "uds")
        yield folder / "uds"


def _until_ready(sockets: Path) -> None:
    pause = threading.Event()
    for _ in range(1000):
        with suppress(OSError):
            if ask(sockets, "GET", "/v2/health/ready")[0] == 200:
                return
        pause.wait(0.02)
    raise AssertionError("the node is not ready after 20 s")


def ask(
    sockets: Path, method: str, path: str, document: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """One request by the node's socket: status and JSON."""
    body = b"" if document is None else json.dumps(document).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(sockets / "http.sock"))
        lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        found = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    head, _, rest = found.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(rest)
