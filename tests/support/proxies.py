"""A Triton server behind a proxy that terminates TLS."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge_runtime.tls.certificates import Certificates
from loops import in_thread


class TritonLike(ThreadingHTTPServer):
    """Triton's model control over plain HTTP; inferences for loaded models are forwarded to another port."""

    daemon_threads = True

    def __init__(self, inferring: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.inferring = inferring
        self.models: dict[str, bytes] = {}
        self.configs: dict[str, Any] = {}
        self.served = 0
        """Inferences, each of which takes 2 ms by the statistics."""
        self.key: tuple[str, str] | None = None
        """Header and value that model control requires, as with --http-restricted-api."""
        self.page: tuple[int, str] | None = None
        """Makes a proxy in front respond instead of Triton."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TritonLike

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.server.page is not None:
            self._send(self.server.page[0], self.server.page[1].encode(), {"Content-Type": "text/html"})
            return
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            self._answer(200, {"name": "triton"})
        elif parts == ["v2", "models", "stats"]:
            self._answer(200, {"model_stats": [{"name": name} for name in self.server.models]})
        elif parts[3:] == ["stats"]:
            success = {"count": self.server.served, "ns": self.server.served * 2_000_000}
            self._answer(200, {"model_stats": [{"name": parts[2], "inference_stats": {"success": success}}]})
        elif parts[3:] == ["config"] and parts[2] in self.server.configs:
            self._answer(200, self.server.configs[parts[2]])
        elif parts[3:] == ["config"]:
            self._answer(400, {"error": f"Request for unknown model: '{parts[2]}' is not found"})
        else:
            self._answer(200 if parts[2] in self.server.models else 400, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        parts = self.path.strip("/").split("/")
        key = self.server.key
        if parts[:2] == ["v2", "repository"] and key is not None and self.headers[key[0]] != key[1]:
            self._answer(403, {"error": f"This API is restricted, expecting header '{key[0]}'"})
        elif parts == ["v2", "repository", "index"]:
            self._answer(200, [])
        elif parts[:3] == ["v2", "repository", "models"]:
            name, models = parts[3], self.server.models
            if parts[4] == "load":
                parameters = json.loads(body)["parameters"]
                self.server.configs[name] = json.loads(parameters["config"])
                models[name] = base64.b64decode(parameters["file:1/model.onnx"])
            else:
                models.pop(name, None)
                self.server.configs.pop(name, None)
            self._send(200, b"", {})
        elif parts[2] not in self.server.models:
            self._answer(404, {"error": f"{parts[2]} is not loaded"})
        else:
            self.server.served += 1
            onward = http.client.HTTPConnection("127.0.0.1", self.server.inferring, timeout=10)
            kept = ("inference-header-content-length", "content-type")
            headers = {name: self.headers[name] for name in kept if self.headers[name]}
            onward.request("POST", self.path, body, headers)
            answer = onward.getresponse()
            said = {name: answer.headers[name] for name in kept if answer.headers[name]}
            self._send(answer.status, answer.read(), said)
            onward.close()

    def _answer(self, status: int, document: Any) -> None:
        self._send(status, json.dumps(document).encode(), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def triton_like(inferring: int) -> Iterator[TritonLike]:
    server = TritonLike(inferring)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Proxy:
    """Terminates TLS, requires client certificates, and forwards bytes."""

    def __init__(self, certificates: Certificates, onward: int) -> None:
        self.certificates, self._onward = certificates, onward
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._open: set[asyncio.StreamWriter] = set()
        self.handshakes = 0
        self.port = 0

    async def main(self, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.certificates.server)
        self.port = server.sockets[0].getsockname()[1]
        self._loop.set_result(asyncio.get_running_loop())
        await stop.wait()
        server.close()

    def wait(self) -> None:
        """Waits until it listens."""
        self._loop.result(10)

    def drop(self) -> None:
        """Closes all connections."""

        async def close() -> None:
            for writer in self._open:
                writer.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop.result(10)).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handshakes += 1
        self._open.add(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._onward)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._open.discard(writer)


@contextmanager
def tls_proxy(certificates: Certificates, onward: int) -> Iterator[Proxy]:
    proxy = Proxy(certificates, onward)
    with in_thread(proxy.main):
        proxy.wait()
        yield proxy


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()
