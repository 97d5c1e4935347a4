"""Full disks, corrupt bytes and power loss: previously valid files are still served."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import pytest_asyncio

from edge_runtime.errors import BadRequest, StorageError
from edge_runtime.model_store import SliceCache
from edge_runtime.store.app import StoreApp
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings
from messages import mentions

HOLD = {"inputs": ["pool1"], "outputs": ["logits"]}
OTHER = {"inputs": ["image"], "outputs": ["pool1"]}


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """No file can grow beyond `left` bytes: a write fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(StoreApp(tmp_path, 1 << 20))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield client


@pytest_asyncio.fixture
async def model(store: httpx.AsyncClient, chain_model: bytes) -> str:
    await store.put("/v1/files/m.onnx", content=chain_model)
    metadata = (await store.post("/v1/models", json={"storageUri": "store://m.onnx"})).json()
    digest: str = metadata["digest"]
    return digest


async def _slice(store: httpx.AsyncClient, model: str, ends: dict[str, Any]) -> httpx.Response:
    return await store.post("/v1/slices", json={"model": model, **ends})


async def test_a_slice_that_does_not_fit_on_the_disk_is_refused_and_the_old_one_stays(
    store: httpx.AsyncClient, model: str, tmp_path: Path
) -> None:
    old = (await _slice(store, model, HOLD)).json()
    before = _files(tmp_path)
    with full_disk(200):
        refused = await _slice(store, model, OTHER)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (507, "StorageError")
        assert mentions("disk", os.strerror(errno.EFBIG)).search(refused.json()["error"]["message"])
        assert (await _slice(store, model, HOLD)).json() == old
        assert len((await store.get(f"/v1/blobs/{old['digest']}")).content) == old["size"]
    assert _files(tmp_path) == before
    assert (await _slice(store, model, OTHER)).status_code == 200


async def test_a_file_that_cannot_be_replaced_keeps_its_old_bytes(
    store: httpx.AsyncClient, tmp_path: Path
) -> None:
    await store.put("/v1/files/a.bin", content=b"old")
    with full_disk(100):
        assert (await store.put("/v1/files/a.bin", content=bytes(4096))).status_code == 507
    assert (await store.get("/v1/files/a.bin")).content == b"old"
    assert _files(tmp_path) == {tmp_path / "files/a.bin"}


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
async def test_a_slice_that_the_disk_changed_is_cut_again_to_the_same_bytes(
    store: httpx.AsyncClient, model: str, tmp_path: Path, harm: str
) -> None:
    made = (await _slice(store, model, HOLD)).json()
    path = tmp_path / "blobs" / made["digest"].removeprefix("sha256:")
    good = path.read_bytes()
    path.write_bytes({"flip": good[:-1] + bytes([good[-1] ^ 1]), "cut": good[:99], "empty": b""}[harm])
    assert (await store.get(f"/v1/blobs/{made['digest']}")).status_code == 422
    assert (await _slice(store, model, HOLD)).json() == made
    assert (await store.get(f"/v1/blobs/{made['digest']}")).content == good


async def test_documents_that_the_disk_changed_are_rebuilt(
    store: httpx.AsyncClient, model: str, tmp_path: Path
) -> None:
    made = (await _slice(store, model, HOLD)).json()
    for path in [*(tmp_path / "slices").iterdir(), *(tmp_path / "models").iterdir()]:
        path.write_bytes(path.read_bytes()[:20])
    assert (await _slice(store, model, HOLD)).json() == made
    assert (await store.get(f"/v1/models/{model}")).status_code == 404
    assert (await store.post("/v1/models", json={"storageUri": "store://m.onnx"})).status_code == 200
    assert (await store.get(f"/v1/models/{model}")).json()["digest"] == model


async def test_a_model_that_the_disk_changed_is_fetched_again(
    store: httpx.AsyncClient, model: str, tmp_path: Path, chain_model: bytes
) -> None:
    (tmp_path / "blobs" / model.removeprefix("sha256:")).write_bytes(b"rubbish")
    request = {"storageUri": "store://m.onnx", "digest": model}
    assert (await store.post("/v1/models", json=request)).json()["digest"] == model
    assert (await store.get(f"/v1/blobs/{model}")).content == chain_model


def test_bytes_are_on_the_disk_before_they_have_their_name_and_the_name_before_the_response(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, synced = Blobs(tmp_path, 1000), []
    place = blobs.blob_path(_digest(b"abc"))
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").readlink().parent.name, place.exists()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    blobs.put(b"abc")
    assert synced == [("incoming", False), (tmp_path.name, True)]


def test_what_a_killed_store_had_begun_to_receive_is_swept_away_later(tmp_path: Path) -> None:
    Blobs(tmp_path, 1000)
    old, new = tmp_path / "incoming/old", tmp_path / "incoming/new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    Blobs(tmp_path, 1000)
    assert _files(tmp_path) == {new}


def test_a_link_out_of_the_stores_folder_is_not_followed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "store", 1000)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "store/files/up").symlink_to(tmp_path)
    with pytest.raises(BadRequest, match=mentions('"up/secret"', "link")):
        Holdings(blobs).read_file("up/secret")


class _Source:
    """A model store that responds from a dictionary, or not at all."""

    def __init__(self, **blobs: bytes) -> None:
        self.blobs, self.asked = {_digest(b): b for b in blobs.values()}, 0

    async def blob(self, digest: str) -> bytes:
        self.asked += 1
        if digest not in self.blobs:
            raise StorageError("the store is down")
        return self.blobs[digest]


async def _get(cache: SliceCache, digest: str) -> bytes:
    data = cache.read(digest)
    if data is None:
        return bytes(await cache.fetch(digest))
    with data:
        return bytes(data)


async def test_a_node_serves_slices_from_its_disk_while_the_store_is_down(tmp_path: Path) -> None:
    source = _Source(a=b"slice")
    digest = _digest(b"slice")
    cache = SliceCache(tmp_path, source)
    assert await _get(cache, digest) == b"slice"
    source.blobs.clear()
    assert await _get(cache, digest) == b"slice"
    assert source.asked == 1


@pytest.mark.parametrize("harmed", [b"slicf", b"sli", b""])
async def test_a_node_fetches_a_slice_again_that_its_disk_changed(tmp_path: Path, harmed: bytes) -> None:
    source, digest = _Source(a=b"slice"), _digest(b"slice")
    cache = SliceCache(tmp_path, source)
    await _get(cache, digest)
    (tmp_path / digest.removeprefix("sha256:")).write_bytes(harmed)
    assert await _get(cache, digest) == b"slice"
    assert source.asked == 2
    assert (tmp_path / digest.removeprefix("sha256:")).read_bytes() == b"slice"


async def test_a_nodes_full_disk_costs_the_cache_and_leaves_no_part_of_a_slice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large = os.urandom(5000)
    source = _Source(a=b"old", b=large)
    cache = SliceCache(tmp_path, source)
    await _get(cache, _digest(b"old"))
    with full_disk(1000):
        assert await _get(cache, _digest(large)) == large
    path = tmp_path / _digest(large).removeprefix("sha256:")
    assert [record.args for record in caplog.records] == [(path, "File too large")]
    assert _files(tmp_path) == {tmp_path / _digest(b"old").removeprefix("sha256:")}
    assert await _get(cache, _digest(large)) == large
    assert len(_files(tmp_path)) == 2


async def test_a_node_whose_disk_fails_while_syncing_keeps_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    cache = SliceCache(tmp_path, _Source(a=b"slice"))
    assert await _get(cache, _digest(b"slice")) == b"slice"
    assert _files(tmp_path) == set()


class _CountedFile(FileIO):
    """Remembers the size of each read."""

    reads: ClassVar[list[int]] = []

    def readinto(self, buffer: Any) -> int:
        self.reads.append(len(buffer))
        return super().readinto(buffer)


async def test_a_large_slice_is_read_in_parts_between_which_other_threads_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * (10 << 10)
    source, digest = _Source(a=content), _digest(content)
    cache = SliceCache(tmp_path, source)
    assert await _get(cache, digest) == content
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: _CountedFile(path))
    assert await _get(cache, digest) == content
    assert source.asked == 1
    assert _CountedFile.reads == [1 << 20, 1 << 20, len(content) - (2 << 20)]
