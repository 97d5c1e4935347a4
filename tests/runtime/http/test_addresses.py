"""Servers listen on both families by `::`, and on IPv4 only, with a warning, on machines without IPv6."""

from __future__ import annotations

import errno
import http.client
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from onnx import helper

from edge_runtime.connections import HttpClient
from edge_runtime.errors import CannotListen
from edge_runtime.http.addresses import bracketed, listening, usable
from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from messages import mentions
from networks import info, model_of
from stages import alone


def _families() -> list[str]:
    """The loopback addresses of this machine: without IPv6, `::` must mean IPv4."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return ["127.0.0.1", "::1"]
    except OSError:
        return ["127.0.0.1"]


FAMILIES = _families()


def _status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(
        model_of([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", "N", 2)], [info("y", "N", 2)])
    )
    return path


def test_brackets_of_a_url_are_none_of_an_address_to_listen_on() -> None:
    assert [usable(host) for host in ("[::1]", "::1", "[127.0.0.1]", "a")] == ["::1", "::1", "127.0.0.1", "a"]


@pytest.mark.parametrize("host", ["256.1.1.1", "[::1]:80", "::1%nowhere", "a b"])
def test_what_is_not_an_address_of_this_machine_is_named_and_not_its_port(host: str) -> None:
    with pytest.raises(CannotListen) as caught:
        listening(host, 0)
    assert str(caught.value).startswith(f'--host: "{host}" ')
    assert "port" not in str(caught.value)


def test_a_runtime_on_every_address_answers_by_each_family(model: Path) -> None:
    with alone(model, host="::", health_port=0) as (http_port, grpc_port, said):
        health = int(said.split("health on 127.0.0.1:")[1].split(" ")[0])
        for host in FAMILIES:
            assert _status(host, http_port, "/v2/health/ready") == 200
            assert _status(host, health, "/v2/health/ready") == 200
            with grpc.insecure_channel(f"{bracketed(host)}:{grpc_port}") as channel:
                ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                    "/inference.GRPCInferenceService/ServerReady"
                )
                assert ask(b"", timeout=10) == b"\x08\x01"
        assert f"curl -s http://127.0.0.1:{http_port}/" in said


def test_a_store_on_every_address_answers_by_each_family(tmp_path: Path) -> None:
    server = store_server(StoreApp(tmp_path, 1 << 20), "::", 0, health_port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for host in FAMILIES:
            assert [_status(host, port, "/v1/health/ready") for port in server.ports] == [200, 200]
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.mark.parametrize("host", FAMILIES)
async def test_one_address_is_resolved_once_and_used_unchanged(model: Path, host: str) -> None:
    with alone(model, host=host) as (http_port, _, said):
        assert f"HTTP on {bracketed(host)}:{http_port}" in said
        for other in set(FAMILIES) - {host}:
            with pytest.raises(OSError, match="refused"):
                _status(other, http_port, "/v2/health/ready")
        client = HttpClient(f"http://{bracketed(host)}:{http_port}")  # as for a hop, a probe and the store
        assert (await client.request("GET", "/v2/health/ready", within=10)).status == 200
        client.close()


def test_a_name_is_served_by_a_family_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("localhost", 0) as sock:
        assert sock.family is socket.AF_INET
    host = FAMILIES[-1]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with listening(host, 0) as sock:
        assert sock.getsockname()[0] == host


def _without(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def refused(address: Any, **named: Any) -> socket.socket:
        if named.get("family") is socket.AF_INET6:
            raise OSError(number, "no such thing")
        return create(address, **named)

    monkeypatch.setattr(socket, "create_server", refused)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_every_address_is_every_one_of_ipv4_and_a_line_is_logged(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, model: Path
) -> None:
    _without(number, monkeypatch)
    with caplog.at_level(logging.WARNING), alone(model, host="::") as (http_port, _, _):
        assert _status("127.0.0.1", http_port, "/v2/health/ready") == 200
    (warning,) = caplog.messages
    assert mentions('--host "::":', "IPv6", "0.0.0.0").search(warning)
    assert usable("0.0.0.0") == "0.0.0.0"


def test_an_address_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port}: HTTP"):
            listening("127.0.0.1", port)
    _without(errno.EAFNOSUPPORT, monkeypatch)
    with pytest.raises(CannotListen, match=r"\[::1\]:80: HTTP .*\(no such thing\)"):
        listening("::1", 80)
    with pytest.raises(CannotListen, match="no-such-host"):
        listening("no-such-host.invalid", 80)
