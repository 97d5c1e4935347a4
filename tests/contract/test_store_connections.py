"""The operator notices a model store whose node is gone, although responses can take minutes."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from edge_operator.store import ModelStore


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_connection_ends_when_the_other_end_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    options, set_option = set[tuple[int, int, Any]](), socket.socket.setsockopt

    def noted(self: socket.socket, level: int, name: int, value: Any) -> None:
        options.add((level, name, value))
        set_option(self, level, name, value)

    with HTTPServer(("127.0.0.1", 0), _Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(socket.socket, "setsockopt", noted)
        store = ModelStore(f"http://127.0.0.1:{server.server_port}")
        assert store.layers("sha256:00") is None
        server.shutdown()
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 35_000) in options
