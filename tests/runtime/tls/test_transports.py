"""Client authentication by HTTP, gRPC, the node's socket and the plaintext health port."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from edge_runtime.cli import main
from messages import mentions
from mounts import Signer, caller

Guarded = Any
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]})


def _once(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """One request on a connection of its own."""
    with closing(connection):
        return _ask(connection)


def _ask(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    connection.request("POST", "/v2/models/m/infer", BODY)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _https(served: Guarded, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", served.http, context=context, timeout=10)


def _own(served: Guarded, name: str = "caller") -> ssl.SSLContext:
    return caller(served.folder / name, served.signer.pair())


def _foreign(served: Guarded) -> ssl.SSLContext:
    """Trusts the server, but presents a certificate of another authority."""
    stranger = Signer(served.folder / "stranger").pair()
    return caller(served.folder / "foreign", stranger | {"ca.crt": served.signer.pair()["ca.crt"]})


def _none(served: Guarded) -> ssl.SSLContext:
    return caller(served.folder / "none", served.signer.pair(), with_certificate=False)


def _shown(connection: http.client.HTTPSConnection) -> bytes:
    """The certificate that the server presented when the connection was established."""
    sock: Any = connection.sock
    der = sock.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


def _same(pem: bytes, other: bytes) -> bool:
    return pem.split() == other.split()


def _grpc(served: Guarded, files: dict[str, bytes] | None, root: bytes | None = None) -> list[list[float]]:
    root = root or served.signer.pair()["ca.crt"]
    pair = (files["tls.key"], files["tls.crt"]) if files else (None, None)
    credentials = grpc.ssl_channel_credentials(root, *pair)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpcclient.InferenceServerClient(
        f"localhost:{served.grpc}", creds=credentials, ssl=True, channel_args=options
    ) as client:
        given = grpcclient.InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
        rows: list[list[float]] = client.infer("m", [given], client_timeout=5).as_numpy("y").tolist()
        return rows


def test_a_client_with_a_certificate_of_the_authority_is_answered(strict: Guarded) -> None:
    status, answer = _once(_https(strict, _own(strict)))
    assert (status, answer["outputs"][0]["data"]) == (200, [2.0, 4.0, 6.0])
    assert _grpc(strict, strict.signer.pair()) == [[2.0, 4.0, 6.0]]


def test_a_client_without_or_with_a_foreign_certificate_is_not(strict: Guarded) -> None:
    for context in (_none(strict), _foreign(strict)):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _once(_https(strict, context))
    for files in (None, Signer(strict.folder / "other").pair()):
        with pytest.raises(grpcclient.InferenceServerException):
            _grpc(strict, files)
    assert _once(_https(strict, _own(strict)))[0] == 200


def test_where_certificates_are_optional_one_may_show_none_but_no_foreign_one(lenient: Guarded) -> None:
    assert _once(_https(lenient, _none(lenient)))[0] == 200
    assert _grpc(lenient, None) == [[2.0, 4.0, 6.0]]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _once(_https(lenient, _foreign(lenient)))


def test_a_client_can_distinguish_the_server_from_another(strict: Guarded) -> None:
    stranger = Signer(strict.folder / "stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        _once(_https(strict, caller(strict.folder / "x", stranger.pair())))
    with pytest.raises(grpcclient.InferenceServerException):
        _grpc(strict, strict.signer.pair(), root=stranger.pair()["ca.crt"])
    with (
        socket.create_connection(("127.0.0.1", strict.http), timeout=10) as sock,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        _own(strict).wrap_socket(sock, server_hostname="edge-b")


def test_nothing_is_answered_without_tls(strict: Guarded) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        _once(http.client.HTTPConnection("127.0.0.1", strict.http, timeout=10))
    with socket.create_connection(("127.0.0.1", strict.http), timeout=10) as sock:
        sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" not in sock.recv(1000)
    assert _once(_https(strict, _own(strict)))[0] == 200


def test_the_plain_port_tells_health_and_metrics_and_nothing_else(strict: Guarded) -> None:
    port = int(re.findall(r"health on 127\.0\.0\.1:(\d+) without TLS", strict.said)[0])
    for path in ("/v2/health/live", "/v2/health/ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            assert response.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        told = response.read().decode()
    line = next(li for li in told.splitlines() if li.startswith("edge_certificate_expiry_timestamp_seconds{"))
    assert line.startswith('edge_certificate_expiry_timestamp_seconds{service="m"} ')
    assert float(line.split()[-1]) == strict.certificates.current.expires
    status, answer = _once(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
    assert status == 404
    assert answer["error"].startswith("/v2/models/m/infer: ")
    assert "/v2/health/live, /v2/health/ready, /metrics" in answer["error"]


def metrics_of(served: Guarded) -> str:
    """The page of metrics, at the port without TLS."""
    port = int(re.findall(r"health on 127\.0\.0\.1:(\d+) without TLS", served.said)[0])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def failed_handshakes(served: Guarded) -> dict[str, float]:
    """By cause."""
    told = metrics_of(served)
    found = re.findall(r'edge_failed_handshakes_total\{cause="(\w+)",service="m"\} (\S+)', told)
    return {cause: float(count) for cause, count in found}


def test_handshakes_over_grpc_are_not_counted_as_the_metric_says(strict: Guarded) -> None:
    with pytest.raises(grpcclient.InferenceServerException, match="UNAVAILABLE"):
        _grpc(strict, None)
    assert failed_handshakes(strict) == {}
    described = re.search(r"# HELP edge_failed_handshakes_total (.*)", metrics_of(strict))
    assert described is not None
    assert mentions("over HTTP", "gRPC does not report").search(described[1])


def test_failed_handshakes_are_counted_by_cause_also_after_a_renewal(strict: Guarded) -> None:
    _once(_https(strict, _own(strict)))
    assert failed_handshakes(strict) == {}
    for context in (_none(strict), _foreign(strict)):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _once(_https(strict, context))
    assert failed_handshakes(strict) == {"certificate": 2.0}
    strict.mount.swap(strict.signer.pair())
    assert strict.certificates.look()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _once(_https(strict, _foreign(strict)))
    with pytest.raises((http.client.HTTPException, OSError)):
        _once(http.client.HTTPConnection("127.0.0.1", strict.http, timeout=10))
    assert failed_handshakes(strict) == {"certificate": 3.0, "other": 1.0}


def test_clients_on_the_node_need_no_certificate_at_its_socket(strict: Guarded) -> None:
    assert _once(_https(strict, _own(strict)))[0] == 200  # it listens
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(strict.uds / "http.sock"))
        head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n"
        sock.sendall((head + BODY).encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    with grpcclient.InferenceServerClient(f"unix:{strict.uds / 'grpc.sock'}") as client:
        assert client.is_model_ready("m")


def test_the_command_that_is_shown_names_the_certificates(strict: Guarded) -> None:
    folder = strict.mount.path
    assert (
        f"curl -s --cacert {folder}/ca.crt --cert {folder}/tls.crt --key {folder}/tls.key https://127.0.0.1:"
        in (strict.said)
    )


def test_new_connections_see_renewed_certificates_while_a_kept_one_stays_open(
    strict: Guarded,
) -> None:
    kept = _https(strict, _own(strict))
    assert _ask(kept)[0] == 200
    first = _shown(kept)
    renewed = strict.signer.pair(days=5)
    strict.mount.swap(renewed)
    _until_taken_over(strict, renewed)
    later = _https(strict, _own(strict, "later"))
    assert _ask(later)[0] == 200
    assert _same(_shown(later), renewed["tls.crt"])
    assert _ask(kept)[0] == 200
    assert _same(_shown(kept), first)
    for connection in (kept, later):
        connection.close()
    assert _grpc(strict, strict.signer.pair()) == [[2.0, 4.0, 6.0]]
    assert _same(ssl.get_server_certificate(("localhost", strict.grpc)).encode(), renewed["tls.crt"])


def test_no_client_is_lost_while_certificates_change_again_and_again(strict: Guarded) -> None:
    context, pairs = _own(strict), [strict.signer.pair(days=day) for day in range(20)]
    found: list[int] = []
    done = threading.Event()

    def call() -> None:
        with closing(_https(strict, context)) as kept:
            while not done.is_set():
                found.append(_once(_https(strict, context))[0])
                found.append(_ask(kept)[0])

    callers = [threading.Thread(target=call) for _ in range(2)]
    for thread in callers:
        thread.start()
    for files in pairs:
        strict.mount.swap(files)
        strict.certificates.look()
        seen = len(found)
        while len(found) < seen + 8:
            assert not done.wait(0.01)
            assert all(thread.is_alive() for thread in callers)
    done.set()
    for thread in callers:
        thread.join(20)
    assert set(found) == {200}
    _until_taken_over(strict, pairs[-1])


def test_with_a_new_authority_clients_of_the_old_one_are_refused(strict: Guarded) -> None:
    old, context = strict.signer.pair(), _own(strict)
    assert _once(_https(strict, context))[0] == 200
    after = Signer(strict.folder / "after")
    renewed = after.pair()
    strict.mount.swap(renewed)
    _until_taken_over(strict, renewed)
    stale = caller(strict.folder / "stale", old | {"ca.crt": renewed["ca.crt"]})
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _once(_https(strict, stale))
    assert _once(_https(strict, caller(strict.folder / "fresh", after.pair())))[0] == 200
    with pytest.raises(grpcclient.InferenceServerException):
        _grpc(strict, old, root=renewed["ca.crt"])
    assert _grpc(strict, after.pair(), root=renewed["ca.crt"]) == [[2.0, 4.0, 6.0]]


def test_a_client_that_keeps_a_connection_does_not_hold_up_the_end(
    tmp_path: Path, serve_guarded: Callable[[Path, str], AbstractContextManager[Guarded]]
) -> None:
    with ExitStack() as clients:
        with serve_guarded(tmp_path, "require") as served:
            kept = clients.enter_context(closing(_https(served, _own(served))))
            assert _ask(kept)[0] == 200
            begin = time.monotonic()
        assert time.monotonic() - begin < 8  # a second to close; requests in flight would have 10


def test_broken_files_leave_the_old_ones_in_use(strict: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    before = strict.certificates.current
    with caplog.at_level(logging.ERROR):
        strict.mount.swap(strict.signer.pair() | {"tls.key": b"half"})
        pause = threading.Event()
        while "still using the certificate" not in caplog.text:
            assert not pause.wait(0.05)
    assert strict.certificates.current is before
    assert _once(_https(strict, _own(strict)))[0] == 200
    assert _grpc(strict, strict.signer.pair()) == [[2.0, 4.0, 6.0]]


def _until_taken_over(served: Guarded, files: dict[str, bytes]) -> None:
    pause = threading.Event()
    for _ in range(400):
        if served.certificates.current.chain == files["tls.crt"]:
            return
        pause.wait(0.05)
    raise AssertionError("the new certificates were not taken over within 20 s")


def test_what_cannot_be_used_ends_the_command_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["serve", str(tmp_path / "m.onnx"), "--tls-dir", str(tmp_path / "none")]
    assert main(command) == 1
    assert mentions(f"{tmp_path}/none/tls.crt:", os.strerror(errno.ENOENT)).search(capsys.readouterr().err)
    monkeypatch.setenv("EDGE_TLS_CLIENTS", "maybe")
    assert main(command) == 1
    assert '--tls-clients: "maybe" is not valid' in capsys.readouterr().err
