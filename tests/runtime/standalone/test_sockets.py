"""Requests byte by byte on the wire, as curl and invalid clients send them."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.http import connections
from messages import mentions

Served = Any

INFER = "/v2/models/m/infer"
PAIR = {
    "inputs": [
        {"name": name, "shape": [1, 3], "datatype": "FP32", "data": [value] * 3}
        for name, value in (("a", 5.0), ("b", 3.0))
    ]
}


def _talk(address: int | Path, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    with socket.socket(family) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
        sock.sendall(data)
        found = b""
        while b"\r\n\r\n" not in found:
            part = sock.recv(65536)
            assert part, found
            found += part
        head, _, body = found.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += sock.recv(65536)
        return int(status.split()[1]), headers, body


def _request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _infer(served: Served, document: object = PAIR, **headers: str) -> tuple[int, dict[str, str], Any]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    status, found, answer = _talk(served.http, _request("POST", INFER, body, **headers))
    return status, found, answer


def test_a_request_as_curl_sends_it_is_answered_as_json(sums: Served) -> None:
    status, headers, body = _infer(sums, content_type="application/x-www-form-urlencoded", accept="*/*")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "parameters": {"route": "local", "cut": "local", "deadline_met": True},
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [1, 3], "data": [8.0] * 3},
            {"name": "difference", "datatype": "FP32", "shape": [1, 3], "data": [2.0] * 3},
        ],
    }


def test_clients_on_the_node_use_its_socket(sums: Served) -> None:
    body = json.dumps(PAIR).encode()
    assert _talk(sums.uds / "http.sock", _request("POST", INFER, body))[0] == 200


def test_a_body_in_pieces_is_read(sums: Served) -> None:
    body = json.dumps(PAIR).encode()
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in body) + b"0\r\n\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    assert _talk(sums.http, head + chunks)[0] == 200


def test_two_requests_in_one_packet_are_both_answered(sums: Served) -> None:
    data = _request("POST", INFER, json.dumps(PAIR).encode())
    with socket.create_connection(("127.0.0.1", sums.http), timeout=10) as sock:
        sock.sendall(data + data)
        found = b""
        while found.count(b"HTTP/1.1 200") < 2 or found.count(b"}]}") < 2:
            part = sock.recv(65536)
            assert part
            found += part


@pytest.mark.parametrize(
    ("method", "path", "status", "parts"),
    [
        ("GET", INFER, 405, (f"GET {INFER}:", "POST")),
        ("POST", "/v2/models/m", 405, ("POST /v2/models/m:", "GET")),
        ("DELETE", "/v2/health/live", 405, ("DELETE /v2/health/live:", "GET")),
        ("GET", "/v2/models/other/ready", 404, ('model "other"', "request m")),
        ("GET", "/v2/models/m/versions/2", 404, ("model m", 'version "2"', "version 1")),
        ("GET", "/v2/models/m/variants/1", 404, ("/v2/models/m/variants/1:", "Open Inference Protocol")),
        ("GET", "/", 404, ("/:", "Open Inference Protocol")),
        (
            "GET",
            "/v2/../etc/passwd",
            404,
            ("/v2/../etc/passwd:", "Open Inference Protocol"),
        ),
    ],
)
def test_what_is_not_there_is_said_with_its_code(
    sums: Served, method: str, path: str, status: int, parts: tuple[str, ...]
) -> None:
    found, headers, body = _talk(sums.http, _request(method, path))
    assert found == status
    assert mentions(*parts).search(json.loads(body)["error"])
    assert ("allow" in headers) == (status == 405)


def test_a_body_beyond_the_limit_is_refused_by_its_length_alone(sums: Served) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {1 << 40}\r\n\r\n".encode()
    status, _, body = _talk(sums.http, head)
    assert status == 413
    error = json.loads(body)["error"]
    assert error.startswith("body: 1099511627776 bytes")
    assert "67108864" in error


def test_two_headers_of_encodings_are_the_list_that_one_would_hold(sums: Served) -> None:
    body = gzip.compress(json.dumps(PAIR).encode())
    status, _, answer = _infer(sums, body, content_encoding="gzip\r\ncontent-encoding: gzip")
    assert status == 415
    assert '"gzip, gzip"' in json.loads(answer)["error"]


def test_a_target_that_is_too_long_gets_431(sums: Served) -> None:
    status, _, answer = _talk(sums.http, _request("GET", f"/v2/{'a' * 65533}"))
    assert status == 431
    assert "target has 65537 bytes" in json.loads(answer)["error"]


def test_a_bomb_in_gzip_is_refused(sums: Served) -> None:
    status, _, body = _infer(sums, gzip.compress(bytes(1 << 27)), content_encoding="gzip")
    assert status == 413
    assert mentions("body:", "67108864 bytes", "decompression").search(json.loads(body)["error"])


def test_an_unknown_encoding_is_415(sums: Served) -> None:
    assert _infer(sums, content_encoding="br")[0] == 415


def test_a_long_answer_is_compressed_for_who_accepts_it(sums: Served) -> None:
    many = {
        "inputs": [{**entry, "shape": [400, 3], "data": [1.0] * 1200} for entry in PAIR["inputs"]],
    }
    status, headers, body = _infer(sums, many, accept_encoding="gzip, deflate, br")
    assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "accept-encoding")
    assert json.loads(gzip.decompress(body))["outputs"][0]["data"] == [2.0] * 1200
    plain = _infer(sums, many)
    assert "content-encoding" not in plain[1]
    assert len(body) < len(plain[2]) / 10


def test_a_huge_shape_without_data_is_refused(sums: Served) -> None:
    huge = [{**PAIR["inputs"][0], "shape": [1 << 50, 3], "data": []}, PAIR["inputs"][1]]
    status, _, body = _infer(sums, {"inputs": huge})
    assert status == 400
    said = json.loads(body)["error"]
    assert mentions("inputs[0].shape: [1125899906842624, 3]", 67108864).search(said)


def test_what_is_not_http_ends_the_connection_with_400(sums: Served) -> None:
    assert _talk(sums.http, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")[0] == 400


def test_a_client_that_disconnects_early_affects_no_other(sums: Served) -> None:
    with socket.create_connection(("127.0.0.1", sums.http), timeout=10) as sock:
        sock.sendall(_request("POST", INFER, b"x" * 10)[:-5])
    assert _infer(sums)[0] == 200


@pytest.mark.parametrize(
    "piece", [b"x-a: b\r\n" * 1000, b"y" * 8000], ids=["many headers", "one long header"]
)
def test_headers_without_limit_are_refused_and_not_kept(sums: Served, piece: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sums.http), timeout=20) as caller:
        caller.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-b: ")
        sent = 0
        with suppress(OSError):  # it closes while more is on the way
            while sent < 64 << 20:
                caller.sendall(piece)
                sent += len(piece)
        assert sent < 16 << 20  # what the kernel's buffers hold, and a little
    assert _talk(sums.http, _request("GET", "/v2", x_long="y" * 30_000))[0] == 200


def test_the_refusal_of_long_headers_is_a_valid_response(sums: Served) -> None:
    with socket.create_connection(("127.0.0.1", sums.http), timeout=20) as caller:
        # Once the first is answered, the beginning of the second has been read by itself.
        caller.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\nGET /v2 HTTP/1.1\r\nhost: x\r\n")
        assert caller.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        caller.sendall(b"x-long: " + b"y" * ((64 << 10) - 7))
        answer = caller.makefile("rb").read()
    answer = answer[answer.index(b"HTTP/1.1 ") :]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert mentions("headers:", "65536 bytes").search(json.loads(body)["error"])


@pytest.mark.parametrize(
    ("sent", "answers"),
    [(b"", 0), (b"GET /v2 HTTP/1.1\r\nhost:", 0), (b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\nGET /v2 HTT", 1)],
    ids=["nothing", "half a head", "half a second head"],
)
def test_a_connection_whose_request_does_not_come_is_closed(
    sums: Served, monkeypatch: pytest.MonkeyPatch, sent: bytes, answers: int
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    with socket.create_connection(("127.0.0.1", sums.http), timeout=20) as caller:
        caller.sendall(sent)
        assert caller.makefile("rb").read().count(b"HTTP/1.1 200 OK") == answers
