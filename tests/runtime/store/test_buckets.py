"""Models in buckets of a real S3 server: read with the credentials of a Secret, by the rules of the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.errors import DigestMismatch, NotFound, Refused, TooLarge
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.reachable import NOTHING, Reachable, reachable
from edge_runtime.store.receiving import Incoming
from edge_runtime.store.remote.apart import Credentials, read_apart
from edge_runtime.store.sources import fetch
from messages import mentions
from model_servers import S3Server, s3_server

LOOPBACK = reachable(Path("/no/root"), [], ["127.0.0.1"])
SAID = 'model.storageUri: "s3://models/digits.onnx"'
MODEL = os.urandom(20 << 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        running.put("models/digits.onnx", MODEL)
        yield running


def _read(
    server: S3Server, incoming: Incoming, path: str = "models/digits.onnx", allowed: Reachable = LOOPBACK
) -> None:
    read_apart("s3", path, incoming, SAID, allowed, Credentials(server.credentials))


def test_an_object_is_read_with_the_keys_of_a_secret(server: S3Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    incoming = Incoming(tmp_path, 1 << 30, progress=lambda *step: told.append(step))
    _read(server, incoming)
    assert incoming.complete().read_bytes() == MODEL
    assert told[0] == (0, len(MODEL))
    assert told[-1] == (len(MODEL), len(MODEL))


def test_the_internal_address_of_a_server_is_refused(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=mentions(SAID, "127.0.0.1", "store.allowInternal")):
        _read(server, Incoming(tmp_path, 1 << 30), allowed=NOTHING)


def test_keys_of_the_store_itself_are_not_used(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=mentions("s3://models/digits.onnx", "secretName")):
        fetch("s3://models/digits.onnx", None, Holdings(Blobs(tmp_path, 1 << 30)), allowed=LOOPBACK)


def test_wrong_keys_are_refused(server: S3Server, tmp_path: Path) -> None:
    wrong = Credentials(server.credentials | {"AWS_SECRET_ACCESS_KEY": "another"})
    with pytest.raises(Refused, match=mentions(SAID, "credentials")):
        read_apart("s3", "models/digits.onnx", Incoming(tmp_path, 1 << 30), SAID, LOOPBACK, wrong)


def test_an_object_that_is_not_there_is_not_found(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=mentions(SAID, "does not exist")):
        _read(server, Incoming(tmp_path, 1 << 30), "models/none.onnx")


def test_an_object_beyond_the_limit_is_refused_before_it_is_read(server: S3Server, tmp_path: Path) -> None:
    told: list[int] = []
    incoming = Incoming(tmp_path, len(MODEL) - 1, progress=lambda received, size: told.append(received))
    with pytest.raises(TooLarge):
        _read(server, incoming)
    incoming.abandon()
    assert not told


def test_a_later_read_continues_where_the_first_one_broke_off(server: S3Server, tmp_path: Path) -> None:
    first = Incoming(tmp_path, 1 << 30, "key")
    first.begin(len(MODEL), "v1")
    first.write(MODEL[: 9 << 20])
    first.suspend()
    second = Incoming(tmp_path, 1 << 30, "key")
    assert second.begin(len(MODEL), "v1") == 9 << 20
    assert second.begin(len(MODEL), "v2") == 0, "bytes of two versions are not joined"
    second.abandon()


def test_another_digest_than_the_manifest_s_is_refused(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "store", 1 << 30)
    (tmp_path / "m.onnx").write_bytes(MODEL)
    shared = reachable(tmp_path / "store", [tmp_path / "shared"], [])
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/m.onnx").write_bytes(b"bytes")
    with pytest.raises(DigestMismatch):
        fetch(f"file://{tmp_path}/shared/m.onnx", f"sha256:{'0' * 64}", Holdings(blobs), allowed=shared)
