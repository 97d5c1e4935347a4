"""With tracing off, valid trace headers are forwarded unchanged, and no others."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

Two = Any
GIVEN = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1,b=2"}


def test_the_context_of_a_client_is_forwarded_unchanged(stages: Two) -> None:
    assert stages.infer(GIVEN)[0] == 200
    headers, _ = stages.tap.last()
    assert {name: headers[name] for name in GIVEN} == GIVEN


@pytest.mark.parametrize("given", [{}, {"traceparent": "00-4bf92f"}, {"tracestate": "a=1"}])
def test_a_missing_or_invalid_context_is_not_forwarded(stages: Two, given: dict[str, str]) -> None:
    assert stages.infer(GIVEN)[0] == 200
    assert stages.infer(given)[0] == 200
    assert not GIVEN.keys() & stages.tap.last()[0].keys()


def test_over_grpc_as_well(stages: Two) -> None:
    given = grpcclient.InferInput("image", [1, 1, 16, 16], "FP32")
    given.set_data_from_numpy(np.zeros((1, 1, 16, 16), np.float32))
    with grpcclient.InferenceServerClient(f"unix:{stages.sockets / 'grpc.sock'}") as client:
        client.infer("digits", [given], headers=GIVEN)
        headers, _ = stages.tap.last()
        assert {name: headers[name] for name in GIVEN} == GIVEN
        client.infer("digits", [given])
        assert not GIVEN.keys() & stages.tap.last()[0].keys()


def test_what_one_request_on_a_connection_left_is_not_the_next_ones(stages: Two) -> None:
    image = np.zeros((1, 1, 16, 16), np.float32)
    given = {"name": "image", "shape": list(image.shape), "datatype": "FP32", "data": image.ravel().tolist()}
    body = json.dumps({"inputs": [given]}).encode()
    head = f"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n".encode()
    traced = "".join(f"{name}: {value}\r\n" for name, value in GIVEN.items()).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(stages.sockets / "http.sock"))
        sock.sendall(head + traced + b"\r\n" + body + head + b"\r\n" + body)  # both at once
        found = b""
        while found.count(b"HTTP/1.1 200") < 2:
            found += sock.recv(1 << 16)
    sent = bytes(stages.tap.sent)
    assert (sent.count(b"POST /v2/models/tail/infer"), sent.count(b"traceparent: ")) == (2, 1)


def test_the_time_that_is_left_is_forwarded_too(stages: Two) -> None:
    assert stages.infer()[0] == 200
    _, document = stages.tap.last()
    left = document["parameters"]["timeout"]
    assert 1_000_000 < left <= 4_000_000  # the SLO is 2 s; without a local route the hop gets twice that
    assert left.bit_count() <= 5
    assert left % 2**15 == 0


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    script = (
        "import sys; from edge_runtime import cli, server, standalone_server;"
        "from edge_runtime.tracing.startup import start;"
        "assert start('m', {}) is None;"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'onnx.', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
