"""Both distributions connect to a Triton server at an IPv6 address as written in the pool."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_api.devicepools import TritonServer
from edge_operator.tritons.triton import TritonServers
from edge_runtime.connections import HttpClient


class _Statistics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["host"])  # type: ignore[attr-defined]
        body = json.dumps({"model_stats": [{"name": "m"}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


class _OverIpv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture
def triton() -> Iterator[Any]:
    with _OverIpv6(("::1", 0), _Statistics) as server:
        server.hosts = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


async def test_operator_and_runtime_reach_a_triton_at_an_ipv6_address(triton: Any) -> None:
    written = f"[::1]:{triton.server_address[1]}"
    server = TritonServer.model_validate(
        {"name": "cloud", "httpAddress": written, "deviceClass": "cloud", "nodeSelector": {"a": "b"}}
    )
    assert await asyncio.to_thread(TritonServers().ready, server.url) == {"m"}
    client = HttpClient(server.url)
    assert (await client.request("GET", "/v2", within=10.0)).status == 200
    client.close()
    assert set(triton.hosts) == {written}
