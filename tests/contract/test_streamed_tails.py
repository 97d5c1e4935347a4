"""A tail passes through the operator in pieces, from the model store to Triton's load request."""

import base64
import hashlib
import json
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_api.tensors import Tensor
from edge_operator.errors import StoreError
from edge_operator.store import ModelStore
from edge_operator.tritons.tail_models import Tail
from edge_operator.tritons.triton import TritonServers

MEGABYTE = 1 << 20
PIECE = bytes(range(256)) * 256
SIZE = 100 * MEGABYTE + 1
HEAD = b'"file:1/model.onnx": "'


class Ends(ThreadingHTTPServer):
    """A model store with one file, and a Triton server that keeps a digest of what it receives."""

    received = ""
    loaded = False
    cut_at = SIZE


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Ends

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/v1/blobs/"):
            self.send_response(200)
            self.send_header("Content-Length", str(SIZE))
            self.end_headers()
            for piece in pieces(self.server.cut_at):
                self.wfile.write(piece)
            self.close_connection = True
        else:
            models = [{"name": "tail"}] if self.server.loaded else []
            self._answer({"model_stats": models} if self.path.endswith("/stats") else {"name": "triton"})

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        head = self.rfile.readline(4096)
        while HEAD not in head:
            more = self.rfile.read(min(256, left - len(head)))
            head += more
        left -= len(head)
        digest, rest = hashlib.sha256(), head.partition(HEAD)[2]
        while left:
            got = self.rfile.read(min(MEGABYTE, left))
            if not got:
                return
            left -= len(got)
            rest += got
            if left <= 4:
                continue
            whole = (len(rest) - 8) // 4 * 4
            digest.update(base64.b64decode(rest[:whole]))
            rest = rest[whole:]
        content, _, end = rest.partition(b'"')
        assert end == b"}}"
        digest.update(base64.b64decode(content))
        self.server.received = digest.hexdigest()
        self.server.loaded = True
        self._answer({})

    def _answer(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def pieces(size: int) -> Iterator[bytes]:
    for at in range(0, size, len(PIECE)):
        yield PIECE[: size - at]


@contextmanager
def ends() -> Iterator[tuple[Ends, str]]:
    server = Ends(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def load(address: str) -> None:
    tensor = Tensor(name="x", datatype="FP32", shape=(-1, 6))
    tail = Tail(address, "tail", "onnxruntime", "sha256:" + "0" * 64, (tensor,), (tensor,), SIZE, "ours")
    TritonServers().load(tail, partial(ModelStore(address).blob, tail.digest))


def test_a_tail_of_100_mb_arrives_whole_and_takes_a_fraction_of_it_in_memory() -> None:
    expected = hashlib.sha256()
    for piece in pieces(SIZE):
        expected.update(piece)
    with ends() as (server, address):
        tracemalloc.start()
        try:
            load(address)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert server.received == expected.hexdigest()
    assert peak < 50 * MEGABYTE


def test_a_store_that_breaks_off_is_named_and_not_triton() -> None:
    with ends() as (server, address):
        server.cut_at = 3 * MEGABYTE
        with pytest.raises(StoreError, match="model store") as raised:
            load(address)
        assert raised.value.reason == "Unreachable"
        assert not server.loaded
