"""What a Job reads for the store: volumes, and servers with the login of a Secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import NotFound, Refused, Unreachable, UnsupportedScheme
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.downloads import download
from edge_runtime.store.fetching import _login, read_source
from edge_runtime.store.reachable import NOTHING, reachable
from edge_runtime.store.receiving import Incoming
from edge_runtime.store.remote.apart import NO_CREDENTIALS, Credentials
from edge_runtime.store.schemes import address_of
from messages import mentions

LOOPBACK = reachable(Path("/no/root"), [], ["127.0.0.1"])
DATA = bytes(range(256)) * (1 << 14)


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[Incoming]:
    (tmp_path / "incoming").mkdir()
    found = Incoming(tmp_path / "incoming", 1 << 30, "key")
    yield found
    found.abandon()


def _read(uri: str, incoming: Incoming, volume: Path | None) -> None:
    read_source(address_of(uri, "model.storageUri"), incoming, uri, NOTHING, NO_CREDENTIALS, volume)


def test_a_file_of_a_volume_is_read(tmp_path: Path, incoming: Incoming) -> None:
    (tmp_path / "volume/models").mkdir(parents=True)
    (tmp_path / "volume/models/m.onnx").write_bytes(DATA)
    _read("pvc://shelf/models/m.onnx", incoming, tmp_path / "volume")
    assert incoming.complete().read_bytes() == DATA


def test_a_link_out_of_the_volume_is_refused(tmp_path: Path, incoming: Incoming) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "secret").write_bytes(b"token")
    (tmp_path / "volume/m.onnx").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match=mentions("pvc://shelf/m.onnx", "volume")):
        _read("pvc://shelf/m.onnx", incoming, tmp_path / "volume")


def test_a_file_that_is_not_on_the_volume_is_not_found(tmp_path: Path, incoming: Incoming) -> None:
    with pytest.raises(NotFound, match=mentions("pvc://shelf/m.onnx", "volume")):
        _read("pvc://shelf/m.onnx", incoming, tmp_path)


def test_what_the_store_reads_itself_needs_no_job(incoming: Incoming) -> None:
    with pytest.raises(UnsupportedScheme, match=mentions("store://m.onnx", "secretName")):
        _read("store://m.onnx", incoming, None)


def test_a_login_goes_to_its_own_host_alone_and_only_over_tls(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine models.example.org login reader password s3cret\n")
    secret = Credentials({}, tmp_path)
    assert _login("https://models.example.org/m.onnx", secret) == ("reader", "s3cret")
    assert _login("https://other.example.org/m.onnx", secret) is None
    assert _login("http://models.example.org/m.onnx", secret) is None


class _Breaking(BaseHTTPRequestHandler):
    """Breaks off after a third of the file, unless the rest is requested."""

    def do_GET(self) -> None:
        wanted = self.headers.get("range", "bytes=0-")
        self.server.ranges.append(wanted)  # type: ignore[attr-defined]
        begin = int(wanted.removeprefix("bytes=").rstrip("-"))
        breaks = len(self.server.ranges) <= self.server.breaks  # type: ignore[attr-defined]
        rest = DATA[begin:]
        self.send_response(206 if begin else 200)
        if self.server.tag:  # type: ignore[attr-defined]
            self.send_header("etag", self.server.tag)  # type: ignore[attr-defined]
        self.send_header("content-length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(DATA) // 3] if breaks else rest)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Breaking) as running:
        running.ranges, running.breaks, running.tag = [], 2, '"one"'  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.url = f"http://127.0.0.1:{running.server_address[1]}/m.onnx"  # type: ignore[attr-defined]
        yield running
        running.shutdown()


def test_the_rest_of_a_download_is_requested_after_a_break(server: Any, incoming: Incoming) -> None:
    download(server.url, incoming, "said", LOOPBACK)
    assert incoming.complete().read_bytes() == DATA
    third = len(DATA) // 3
    assert server.ranges == ["bytes=0-", f"bytes={third}-", f"bytes={2 * third}-"]


def test_a_download_whose_version_is_unknown_is_not_continued(server: Any, incoming: Incoming) -> None:
    server.tag = ""
    with pytest.raises(Unreachable):
        download(server.url, incoming, "said", LOOPBACK)
    assert server.ranges == ["bytes=0-"]


def _receive_some(blobs: Blobs, count: int) -> None:
    """Receives the first bytes, until the source breaks off."""
    with blobs.receive(None, key="m", said="said") as first:
        first.begin(len(DATA), '"one"')
        first.write(DATA[:count])
        raise Unreachable("said")


def test_a_later_request_continues_a_download(server: Any, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 1 << 30)
    with pytest.raises(Unreachable):
        _receive_some(blobs, 2 << 20)
    server.breaks = 0
    with blobs.receive(None, key="m", said="said") as second:
        download(server.url, second, "said", LOOPBACK)
    assert server.ranges == ["bytes=0-", f"bytes={2 << 20}-"]
    assert blobs.read_blob(second.digest) == DATA
