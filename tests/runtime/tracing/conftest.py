"""An entry node and the next stage, a tap on the connection between them, and a collector of their spans."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from edge_runtime.tracing.spans import Spans
from loops import in_thread
from stages import alone, ask, entry, split


@dataclass
class Tap:
    """A proxy that records requests to the next stage; `cut` closes the connection."""

    target: int = 0
    port: int = 0
    sent: bytearray = field(default_factory=bytearray)
    cut: bool = False

    def last(self) -> tuple[dict[str, str], Any]:
        """The headers, in lower case, and the JSON of the last request."""
        head, _, body = bytes(self.sent[self.sent.rindex(b"POST ") :]).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return headers, json.loads(body[: int(headers["inference-header-content-length"])])

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bytearray | None
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.cut:
                    break
                if keep is not None:
                    keep += data
                writer.write(data)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._pump(reader, far_writer, self.sent), self._pump(far_reader, writer, None))

    @contextmanager
    def running(self) -> Iterator[None]:
        started: Future[int] = Future()

        async def main(stop: asyncio.Event) -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            started.set_result(server.sockets[0].getsockname()[1])
            await stop.wait()
            server.close()

        with in_thread(main):
            self.port = started.result(10)
            yield


@dataclass
class Two:
    """Both stages, running."""

    sockets: Path
    tap: Tap

    def infer(self, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        image = np.zeros((1, 1, 16, 16), np.float32)
        given = {
            "name": "image",
            "shape": list(image.shape),
            "datatype": "FP32",
            "data": image.ravel().tolist(),
        }
        return ask(self.sockets, "POST", "/v2/models/digits/infer", {"inputs": [given]}, headers)


@contextmanager
def two_stages(
    folder: Path, model: bytes, near: Spans | None = None, far: Spans | None = None
) -> Iterator[Two]:
    with ExitStack() as stack:
        tail, placement = split(model, "pool1", folder, "http://127.0.0.1:1")
        tap = Tap()
        tap.target, _, _ = stack.enter_context(alone(tail, name="tail", spans=far))
        stack.enter_context(tap.running())
        placement["spec"]["routes"][0]["stages"][1]["address"] = f"http://127.0.0.1:{tap.port}"
        yield Two(stack.enter_context(entry(folder, placement, spans=near)), tap)


@pytest.fixture
def stages(tmp_path: Path, chain_model: bytes) -> Iterator[Two]:
    """Neither creates spans."""
    with two_stages(tmp_path, chain_model) as two:
        yield two


@pytest.fixture
def start_stages() -> Callable[..., Any]:
    """Both stages with the given spans."""
    return two_stages


@dataclass
class Collected:
    """Spans as received by the collector: by name, with their service, ids in hexadecimal and attributes."""

    url: str
    spans: list[dict[str, Any]] = field(default_factory=list)

    def named(self, pattern: str) -> dict[str, Any]:
        (found,) = [span for span in self.spans if re.fullmatch(pattern, f"{span['service']} {span['name']}")]
        return found

    def wait(self, count: int) -> None:
        pause = threading.Event()
        for _ in range(400):
            if len(self.spans) >= count:
                return
            pause.wait(0.05)
        raise AssertionError(f"{len(self.spans)} of {count} spans came within 20 s: {self.spans}")


@pytest.fixture
def collector() -> Iterator[Collected]:
    """An OTLP receiver over HTTP."""
    found = Collected("")

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                service = next(
                    a.value.string_value for a in resource.resource.attributes if a.key == "service.name"
                )
                for span in (s for scope in resource.scope_spans for s in scope.spans):
                    values = {
                        a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in span.attributes
                    }
                    found.spans.append(
                        {
                            "service": service,
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "kind": span.kind,
                            "status": span.status.code,
                            "begin": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "attributes": values,
                        }
                    )
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
