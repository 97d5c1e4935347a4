"""Addresses of models are requested exactly as written; invalid ones are rejected immediately."""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import (
    BadRequest,
    EdgeError,
    NotFound,
    Refused,
    TooLarge,
    Unreachable,
    UnsupportedScheme,
)
from edge_runtime.store import downloads
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import reachable
from edge_runtime.store.schemes import address_of, source_of
from edge_runtime.store.sources import fetch

LOOPBACK = reachable(Path("/no/root"), [], ["127.0.0.1", "::1"])
CONTENT = b"the bytes of a model"


class _Source(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.requestline.split(" ")[1])  # type: ignore[attr-defined]
        self.server.credentials = self.headers.get("authorization")  # type: ignore[attr-defined]
        status = next((int(part) for part in self.path.split("/") if part.isdigit()), 200)
        self.send_response(status)
        body = gzip.compress(CONTENT) if "packed" in self.path else CONTENT
        if status == 302:
            self.send_header("location", "/next.onnx?sig=a%2Fb%3D&x=[1]")
        if "packed" in self.path:
            self.send_header("content-encoding", "gzip")
        if "unsaid" not in self.path:
            self.send_header("content-length", str(len(body) + (9 if "short" in self.path else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


class _OverIpv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"])
def source(request: pytest.FixtureRequest) -> Iterator[Any]:
    kind = _OverIpv6 if ":" in request.param else ThreadingHTTPServer
    with kind((request.param, 0), _Source) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.asked = []  # type: ignore[attr-defined]
        host = f"[{request.param}]" if ":" in request.param else request.param
        server.at = f"{host}:{server.server_address[1]}"  # type: ignore[attr-defined]
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("store"), 1 << 20)


def read(source: Any, blobs: Blobs, rest: str, before: str = "") -> list[str]:
    del source.asked[:]
    stored = fetch(f"http://{before}{source.at}{rest}", None, Holdings(blobs), allowed=LOOPBACK)
    assert stored.digest == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    return list(source.asked)


@pytest.mark.parametrize(
    "rest",
    [
        "/m.onnx",
        "/m.onnx?X-Amz-Signature=ab%2Fcd%3D%3D&X-Amz-Expires=60",
        "/b/m.onnx?sv=2022&sig=a+b/c=&se=2026-01-01T00%3A00%3A00Z",
        "/m%5B1%5D.onnx",
        "/m[1].onnx",
        "/a%20b/m.onnx",
        "/a*b?.onnx",
        "/%7Euser/~me/%C3%BC%c3%bc",
        "/a//b/./../m.onnx",
        "/{a|b}/^`m",
        "/packed/unsaid/m.onnx",
        "/%zz%",
    ],
)
def test_an_address_is_requested_once_and_unchanged(source: Any, blobs: Blobs, rest: str) -> None:
    assert read(source, blobs, rest) == [rest]


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=40))
def test_whatever_can_be_sent_is_sent(source: Any, blobs: Blobs, text: str) -> None:
    if not re.search("packed|short|unsaid|/[0-9]+(/|$)", f"/x{text}?q={text}"):
        assert read(source, blobs, f"/x{text}?q={text}") == [f"/x{text}?q={text}"]


def test_a_redirection_is_followed_unchanged(source: Any, blobs: Blobs) -> None:
    assert read(source, blobs, "/302/m.onnx") == ["/302/m.onnx", "/next.onnx?sig=a%2Fb%3D&x=[1]"]


def test_what_no_request_can_hold_is_encoded_and_a_fragment_stays_here(source: Any, blobs: Blobs) -> None:
    assert read(source, blobs, "/ü b.onnx?q=ä#part") == ["/%C3%BC%20b.onnx?q=%C3%A4"]


def test_a_download_that_hardly_moves_ends(
    source: Any, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_PATIENCE", -1.0)
    monkeypatch.setattr(downloads, "_SLOWEST", 1e12)
    with pytest.raises(Unreachable, match=f"{len(CONTENT)} bytes arrived"):
        read(source, blobs, "/slow.onnx")


def test_credentials_go_into_their_header(source: Any, blobs: Blobs) -> None:
    assert read(source, blobs, "/m.onnx", "user:p%40w@") == ["/m.onnx"]
    assert source.credentials == "Basic dXNlcjpwQHc="


@pytest.mark.parametrize(
    ("rest", "error", "words"),
    [
        ("/404/m.onnx", NotFound, "HTTP 404"),
        ("/410/m.onnx", NotFound, "HTTP 410"),
        ("/403/m.onnx", Refused, "HTTP 403"),
        ("/429/m.onnx", Unreachable, "HTTP 429"),
        ("/503/m.onnx", Unreachable, "HTTP 503"),
        ("/short/m.onnx", Unreachable, "cannot be read"),
    ],
)
def test_the_message_of_the_server_is_in_the_error(
    source: Any, blobs: Blobs, rest: str, error: type[EdgeError], words: str
) -> None:
    with pytest.raises(error, match=words) as refusal:
        read(source, blobs, rest)
    assert str(refusal.value).startswith('model.storageUri: "http://')
    assert list((blobs.root / "incoming").iterdir()) == []


def test_more_than_the_store_takes_is_its_own_error(source: Any, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        fetch(f"http://{source.at}/m.onnx", None, Holdings(Blobs(tmp_path, 5)), allowed=LOOPBACK)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://", "has no host"),
        ("https:///m.onnx", "has no host"),
        ("http:m.onnx", "has no host"),
        ("http://[::1/m", "is not a URL"),
        ("http://h:99999/m", "is not a URL"),
        ("http://h:x/m", "is not a URL"),
        ("http://h:0/m", "port 0"),
        ("http://[fe80::1%25eth0]:80/m", "interface"),
        ("http://[fe80::1%eth0]/m", "interface"),
        ("http://[::1::2]/m", "is not a URL|IPv6 address"),
        ("http://a b/m", "host .*characters"),
        ("http://münchen/m", "as in xn--mnchen-3ya"),
        ("http://h/\n", "control character"),
        ("store://a\x00b", "control character"),
        ("store://", "has no file name"),
        ("store:a", "has no file name"),
        ("file://", "has no file name"),
        ("file:a/b", "has no file name"),
        ("file:///%00", "has no file name"),
        ("file:///%ff", "has no file name"),
        ("file://host/etc/passwd", 'has the host "host"'),
        ("http://h/" + "a" * 3000, "3009 characters"),
    ],
)
def test_an_invalid_address_is_refused_before_any_request(uri: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as refusal:
        address_of(uri, "model.storageUri")
    assert str(refusal.value).startswith("model.storageUri: ")
    assert len(str(refusal.value)) < 300


@settings(deadline=None)
@given(
    st.text(max_size=60) | st.text(max_size=60).map("http://{}".format) | st.text().map("file://{}".format)
)
def test_any_text_is_an_address_or_refused(uri: str) -> None:
    with suppress(BadRequest, UnsupportedScheme):
        assert address_of(uri, "model.storageUri").target


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a b/m[1].onnx", "a%20b/m%5B1%5D.onnx"),
        ("a b/m[1].onnx", "a b/m[1].onnx"),
        ("50%.onnx", "50%25.onnx"),
    ],
)
@pytest.mark.parametrize("before", ["file://", "file://localhost", "file:", "FILE://"])
def test_a_file_s_address_may_be_percent_encoded(
    tmp_path: Path, blobs: Blobs, name: str, written: str, before: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(CONTENT)
    shared = reachable(blobs.root, [tmp_path], [])
    assert fetch(f"{before}{tmp_path}/{written}", None, Holdings(blobs), allowed=shared).size == len(CONTENT)


@pytest.mark.parametrize("name", ["nothing", "", "a/../nothing"])
def test_a_file_that_is_not_there_is_said(tmp_path: Path, blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound, match="no such file"):
        fetch(
            f"file://{tmp_path}/{name}", None, Holdings(blobs), allowed=reachable(blobs.root, [tmp_path], [])
        )


@pytest.mark.parametrize(
    ("uri", "beside"),
    [
        ("http://h/a/m.onnx?sig=a/b#x", "http://h/a/d%20e?sig=a/b"),
        ("store://m.onnx", "d e"),
        ("store://a/m.onnx", "a/d e"),
        ("file:///a%20b/m.onnx", "/a b/d e"),
    ],
)
def test_external_data_is_requested_beside_its_model_with_the_same_query(uri: str, beside: str) -> None:
    assert source_of(address_of(uri, "x")).beside(address_of(uri, "x"), "d e").target == beside
