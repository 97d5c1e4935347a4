"""Google Cloud Storage and the Hugging Face Hub, by servers that answer the requests of their libraries."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from edge_runtime.errors import NotFound, Refused
from edge_runtime.store.reachable import NOTHING, reachable
from edge_runtime.store.receiving import Incoming
from edge_runtime.store.remote.apart import read_apart
from messages import mentions

DATA = os.urandom(10 << 20)
COMMIT = "a" * 40
LOOPBACK = reachable(Path("/no/root"), [], ["127.0.0.1"])
ADDRESSES = [("gs", "models/onnx/m.onnx"), ("hf", "owner/model/onnx/m.onnx")]


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "/resolve/" in path or "alt=media" in self.path:
            self._send_part()
        elif path == "/api/models/owner/model":
            self._send({"id": "owner/model", "sha": COMMIT, "siblings": [], "private": False, "tags": []})
        elif path.startswith("/api/models/owner/model/tree/"):
            self._send([{"type": "file", "path": "onnx/m.onnx", "size": len(DATA), "oid": "f" * 40}])
        elif path.endswith("/b/models/o/onnx/m.onnx"):
            found = {"name": "onnx/m.onnx", "bucket": "models", "size": str(len(DATA)), "generation": "7"}
            self._send(found | {"kind": "storage#object", "mediaLink": f"http://{self.headers['host']}/x"})
        elif path.endswith("/b/models/o"):
            self._send({"kind": "storage#objects", "items": []})
        else:
            self._send({"error": {"code": 404, "message": "not found"}}, 404)

    def do_HEAD(self) -> None:
        self._send_part()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._send([{"type": "file", "path": "onnx/m.onnx", "size": len(DATA), "oid": "f" * 40}])

    def _send(self, document: object, status: int = 200) -> None:
        self._answer(status, json.dumps(document).encode(), {"content-type": "application/json"})

    def _send_part(self) -> None:
        wanted = self.headers.get("range", "bytes=0-").removeprefix("bytes=")
        first, _, last = wanted.partition("-")
        end = min(int(last or len(DATA)), len(DATA) - 1)
        span = {"content-range": f"bytes {first}-{end}/{len(DATA)}", "etag": '"one"'}
        self._answer(206, DATA[int(first) : end + 1], span | {"x-repo-commit": COMMIT})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture(autouse=True)
def places(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries call the server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("HF_ENDPOINT", url)


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[Incoming]:
    found = Incoming(tmp_path, 1 << 30)
    yield found
    found.abandon()


@pytest.mark.parametrize(("scheme", "target"), ADDRESSES)
def test_a_public_file_is_read_whole(incoming: Incoming, scheme: str, target: str) -> None:
    read_apart(scheme, target, incoming, "said", LOOPBACK)
    assert incoming.complete().read_bytes() == DATA


@pytest.mark.parametrize(("scheme", "target"), ADDRESSES)
def test_a_file_that_is_not_there_is_not_found(incoming: Incoming, scheme: str, target: str) -> None:
    with pytest.raises(NotFound, match=mentions("said", "does not exist")):
        read_apart(scheme, target.replace("m.onnx", "none.onnx"), incoming, "said", LOOPBACK)


def test_a_server_at_an_internal_address_is_refused(incoming: Incoming) -> None:
    with pytest.raises(Refused, match=mentions("said", "127.0.0.1", "store.allowInternal")):
        read_apart("hf", ADDRESSES[1][1], incoming, "said", NOTHING)
