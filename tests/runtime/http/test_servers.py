"""The runtime, its health port, its socket and the model store, each asked in every form by real sockets."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from onnx import helper

from benchmarks.runtime.request_forms import BODILESS, RIGHT, WRONG
from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from edge_runtime.tls.certificates import Certificates
from messages import mentions
from mounts import Mount, Signer, caller
from networks import info, model_of
from stages import alone

INFER = "/v2/models/m/infer"
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]}]}
).encode()
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LAST = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Door:
    """The addresses of a server: `target` takes a body, `health` none."""

    connect: Callable[[], socket.socket]
    target: tuple[str, str] | None
    health: str

    def talk(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.connect() as sock:
            sock.settimeout(20)
            found = b""
            with suppress(ConnectionError):
                sock.sendall(data)
                while part := sock.recv(1 << 16):
                    found += part
        return found

    def statuses(self, data: bytes) -> list[int]:
        return [int(status) for status in STATUS.findall(self.talk(data)) if status != b"100"]


@contextmanager
def _stored(root: Path, certificates: Certificates | None = None) -> Iterator[list[int]]:
    server = store_server(StoreApp(root, 1 << 20), "127.0.0.1", 0, certificates, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.ports
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    folder = tmp_path_factory.mktemp("doors")
    signer = Signer(folder / "authority")
    certificates = Certificates(Mount(folder / "tls", signer.pair()).path)
    context = caller(folder / "caller", signer.pair())
    (folder / "model.onnx").write_bytes(
        model_of([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", "N", 2)], [info("y", "N", 2)])
    )

    def plain(port: int) -> Callable[[], socket.socket]:
        return lambda: socket.create_connection(("127.0.0.1", port), timeout=20)

    def tls(port: int) -> Callable[[], ssl.SSLSocket]:
        return lambda: context.wrap_socket(plain(port)(), server_hostname="localhost")

    def unix() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(folder / "uds" / "http.sock"))
        return sock

    with ExitStack() as stack:
        http, _, _ = stack.enter_context(alone(folder / "model.onnx"))
        https, _, said = stack.enter_context(
            alone(folder / "model.onnx", uds=folder / "uds", certificates=certificates, health_port=0)
        )
        store, store_health = stack.enter_context(_stored(folder / "store"))
        safe, safe_health = stack.enter_context(_stored(folder / "safe", certificates))
        health = int(said.split("health on 127.0.0.1:")[1].split(" ")[0])
        ready, v1, infer = "/v2/health/ready", "/v1/health/ready", ("POST", INFER)
        yield {
            "runtime": Door(plain(http), infer, ready),
            "runtime by TLS": Door(tls(https), infer, ready),
            "runtime by its socket": Door(unix, infer, ready),
            "runtime's health": Door(plain(health), None, ready),
            "store": Door(plain(store), ("PUT", "/v1/files/a"), v1),
            "store by TLS": Door(tls(safe), ("PUT", "/v1/files/a"), v1),
            "store's health": Door(plain(store_health), None, v1),
            "store's health beside TLS": Door(plain(safe_health), None, v1),
        }


DOORS = (
    *("runtime", "runtime by TLS", "runtime by its socket", "runtime's health"),
    *("store", "store by TLS", "store's health", "store's health beside TLS"),
)
ASKED = tuple(name for name in DOORS if "health" not in name)


@pytest.mark.parametrize("name", ASKED)
def test_a_right_request_is_answered_from_its_whole_body(doors: dict[str, Door], name: str) -> None:
    door = doors[name]
    assert door.target is not None
    stored = b'{"digest":"sha256:%b","size":%d}' % (hashlib.sha256(BODY).hexdigest().encode(), len(BODY))
    respond = stored if "store" in name else b'"data":[3.0,4.0]'
    wrong = {}
    for form, how in RIGHT.items():
        found = door.talk(how.request(*door.target, BODY) + LAST % door.health.encode())
        statuses = [status for status in STATUS.findall(found) if status != b"100"]
        if statuses != [b"200", b"200"] or found.count(respond) != 1:
            wrong[form] = found
    assert wrong == {}


@pytest.mark.parametrize("name", DOORS)
def test_health_is_reported_for_any_offer_and_any_body(doors: dict[str, Door], name: str) -> None:
    door = doors[name]
    last = LAST % door.health.encode()
    forms = {
        **{form: how.request("GET", door.health, b"") for form, how in BODILESS.items()},
        **{f"{form} in a GET": how.request("GET", door.health, BODY) for form, how in RIGHT.items()},
    }
    found = {form: door.statuses(data + last) for form, data in forms.items()}
    assert {form: statuses for form, statuses in found.items() if statuses != [200, 200]} == {}


@pytest.mark.parametrize("name", DOORS)
def test_a_wrong_request_is_refused_once(doors: dict[str, Door], name: str) -> None:
    door = doors[name]
    method, target = door.target or ("GET", door.health)
    last = LAST % door.health.encode()
    if door.target:
        assert door.statuses(RIGHT["chunks"].request(method, target, BODY) + last) == [200, 200]
    found = {form: door.statuses(how.request(method, target, b"other") + last) for form, how in WRONG.items()}
    # Health does not read the body, so the connection is closed.
    right = {form: ([how.status], [200] if method == "GET" else []) for form, how in WRONG.items()}
    assert {form: statuses for form, statuses in found.items() if statuses not in right[form]} == {}
    if method == "PUT":
        read = door.talk(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target.encode())
        assert read.endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize("name", ["store", "store by TLS"])
def test_a_file_that_breaks_off_keeps_the_one_before(doors: dict[str, Door], name: str) -> None:
    door = doors[name]
    assert door.target is not None
    read = LAST % door.target[1].encode()
    assert door.statuses(RIGHT["chunks"].request(*door.target, BODY) + read) == [200, 200]
    for form in ("a content-length", "chunks", "an offer of h2c, chunks", "an offer of h2c, content-length"):
        whole = RIGHT[form].request(*door.target, b"another file")
        for less in (1, 3, 8):
            with door.connect() as sock:
                sock.sendall(whole[:-less])
        assert door.talk(read).endswith(b"\r\n\r\n" + BODY), form


def test_refusals_are_worded_as_each_server_words_its_own(doors: dict[str, Door]) -> None:
    data = WRONG["two hosts"].request("GET", "/", b"")
    bodies = {name: json.loads(doors[name].talk(data).partition(b"\r\n\r\n")[2]) for name in DOORS}
    for name, body in bodies.items():
        error = body["error"]
        message = error["message"] if "store" in name else error
        assert message.startswith("host: "), name
        assert "not 2" in message, name
        assert "store" not in name or error["reason"] == "BadRequest", name


def test_a_long_body_behind_a_refusal_does_not_take_the_response_away(doors: dict[str, Door]) -> None:
    head = WRONG["two equal lengths"].request("PUT", "/v1/files/a", b"")
    for name in ("runtime", "store"):
        assert doors[name].statuses(head + bytes(4 << 20)) == [400]


def _nothing_in(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file()]


async def test_a_length_that_is_not_the_bodys_is_refused(tmp_path: Path) -> None:
    """Regardless of proxies, a stored file has the announced length."""
    app = StoreApp(tmp_path, 1 << 20)

    async def between(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"] = [(b"content-length", b"7")]
        await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(between), base_url="http://store") as client:
        respond = await client.put("/v1/files/a", content=b"12345")
        assert respond.status_code == 400
        assert mentions("body:", "5 bytes", 7).search(respond.json()["error"]["message"])
    assert _nothing_in(tmp_path)
