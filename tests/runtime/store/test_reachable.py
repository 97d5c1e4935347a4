"""What the store may read outside of its own data: shared folders and public addresses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import ResolveResult

from edge_runtime.errors import BadRequest, Refused
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import NOTHING, Reachable, reachable
from edge_runtime.store.sources import fetch
from messages import mentions

INTERNAL = [
    *("127.0.0.1", "127.8.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.0.8", "198.18.0.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:10.0.0.1"),
    *("64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::1"),
    "2001:0:a00:1::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_refused_in_every_spelling(address: str) -> None:
    assert not NOTHING.connects(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert NOTHING.connects(address)


def test_only_addresses_in_allowed_networks_are_allowed(tmp_path: Path) -> None:
    allowed = reachable(tmp_path, [], ["10.1.0.0/16", "fd00::/64", "127.0.0.1"])
    assert all(map(allowed.connects, ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7", "127.0.0.1")))
    assert not any(map(allowed.connects, ("10.2.0.1", "fd01::7", "127.0.0.2", "169.254.169.254")))


@pytest.mark.parametrize("value", ["10.0.0.0/99", "10.1.2.3/16", "http://host", "host:80", "", "."])
def test_a_value_that_is_neither_host_nor_network_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadRequest, match="--allow-internal"):
        reachable(tmp_path, [], [value])


@pytest.mark.parametrize("folder", ["/", "{root}", "{root}/blobs", "{root}/.."])
def test_a_folder_that_would_share_the_stores_own_data_is_refused(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "store"
    with pytest.raises(BadRequest, match=mentions("--shared-folder", "--root")):
        reachable(root, [Path(folder.format(root=root))], [])


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "store", 1 << 20)


def test_a_file_is_only_read_from_a_shared_folder(tmp_path: Path, blobs: Blobs) -> None:
    shared, other = tmp_path / "shared", tmp_path / "shared-not"
    for folder in (shared, other):
        folder.mkdir()
        (folder / "m.onnx").write_bytes(b"content")
    (shared / "link.onnx").symlink_to(other / "m.onnx")
    allowed = reachable(blobs.root, [shared], [])
    assert fetch(f"file://{shared}/m.onnx", None, Holdings(blobs), allowed=allowed).size == 7
    outside = (f"{other}/m.onnx", f"{shared}/../shared-not/m.onnx", f"{shared}/link.onnx", "/etc/hostname")
    for path in (*outside, "/proc/self/environ", "/no/such/file"):
        with pytest.raises(Refused, match=mentions("--shared-folder", "store.sharedFolders")):
            fetch(f"file://{path}", None, Holdings(blobs), allowed=allowed)
    with pytest.raises(Refused, match=mentions("validation.storageUri", "store.sharedFolders")):
        fetch(f"file://{shared}/m.onnx", None, Holdings(blobs), "validation")


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        to = self.path.partition("?to=")[2]
        self.send_response(302 if to else 200)
        if to:
            self.send_header("location", to)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.asked = []  # type: ignore[attr-defined]
        yield server
        server.shutdown()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("field", ["model", "validation"])
def test_an_internal_server_is_not_asked(web: Any, blobs: Blobs, host: str, field: str) -> None:
    with pytest.raises(
        Refused, match=mentions(f"{field}.storageUri", "--allow-internal", "store.allowInternal")
    ):
        fetch(f"http://{host}:{web.server_port}/m", None, Holdings(blobs), field)
    assert web.asked == []


@pytest.mark.parametrize("to", ["http://127.0.0.2:{}/", "http://[::ffff:127.0.0.2]:{}/x"])
def test_a_redirect_to_an_internal_address_is_not_followed(web: Any, blobs: Blobs, to: str) -> None:
    allowed = reachable(blobs.root, [], ["127.0.0.1"])
    with pytest.raises(Refused, match=r"internal address .*127\.0\.0\.2|internal address ::ffff"):
        fetch(
            f"http://127.0.0.1:{web.server_port}/?to={to.format(web.server_port)}",
            None,
            Holdings(blobs),
            allowed=allowed,
        )
    assert len(web.asked) == 1


def test_a_host_is_allowed_by_its_name(web: Any, blobs: Blobs) -> None:
    allowed = reachable(blobs.root, [], ["LocalHost."])
    assert fetch(f"http://localhost:{web.server_port}/m", None, Holdings(blobs), allowed=allowed).size == 0
    with pytest.raises(Refused):
        fetch(f"http://127.0.0.1:{web.server_port}/m", None, Holdings(blobs), allowed=allowed)


def test_a_name_whose_address_changes_is_checked_at_the_connected_address(
    web: Any, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that gives an address first to the check and another one to the connection."""
    answers = iter(["1.1.1.1", "127.0.0.1"])

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=next(answers), port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    checked: list[str] = []
    connects = Reachable.connects

    def seen(self: Reachable, address: str) -> bool:
        checked.append(address)
        return connects(self, address) and address != "1.1.1.1"  # no request leaves this machine

    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
    monkeypatch.setattr(Reachable, "connects", seen)
    for _ in range(2):
        with pytest.raises(Refused):
            fetch(f"http://rebinding.example:{web.server_port}/m", None, Holdings(blobs))
    assert checked == ["1.1.1.1", "127.0.0.1"]
    assert web.asked == []
