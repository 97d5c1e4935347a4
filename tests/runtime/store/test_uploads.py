"""Uploads in parts: what broke off continues."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from edge_cli.uploads import Stored, put
from edge_runtime.errors import DiskFull, Unreachable
from edge_runtime.store.app import StoreApp
from edge_runtime.store.client import Access, Sending, StoreClient
from edge_runtime.store.receiving import check_room
from messages import mentions

DATA = os.urandom(3 << 20)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
BEGIN = {"name": "digits/digits.onnx", "size": len(DATA), "version": "v1"}


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> Any:
    transport = httpx.ASGITransport(StoreApp(tmp_path, 1 << 30))
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        yield client


async def _begin(store: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await store.post("/v1/uploads", json=BEGIN | changed)).json()
    return found


async def _add(store: httpx.AsyncClient, upload: dict[str, Any], data: bytes, offset: int) -> httpx.Response:
    headers = {"upload-offset": str(offset)}
    return await store.patch(f"/v1/uploads/{upload['id']}", content=data, headers=headers)


@pytest.mark.asyncio
async def test_an_upload_continues_where_it_broke_off(store: httpx.AsyncClient) -> None:
    first = await _begin(store)
    await _add(store, first, DATA[:1000], 0)
    again = await _begin(store)
    assert (again["id"], again["offset"]) == (first["id"], 1000)
    await _add(store, again, DATA[1000:], 1000)
    stored = await store.post(f"/v1/uploads/{again['id']}", json={"digest": DIGEST})
    assert stored.json() == {"digest": DIGEST, "size": len(DATA)}
    assert (await store.get("/v1/files/digits/digits.onnx")).content == DATA
    assert (await store.get("/v1/files")).json()["files"] == [{"name": BEGIN["name"], "size": len(DATA)}]


@pytest.mark.asyncio
async def test_another_version_and_one_that_is_not_told_start_from_zero(
    store: httpx.AsyncClient,
) -> None:
    await _add(store, await _begin(store), DATA[:1000], 0)
    assert (await _begin(store, version="v2"))["offset"] == 0
    await _add(store, await _begin(store, version=""), DATA[:1000], 0)
    assert (await _begin(store, version=""))["offset"] == 0


@pytest.mark.asyncio
async def test_parts_are_added_at_the_offset_of_the_upload_alone(store: httpx.AsyncClient) -> None:
    upload = await _begin(store)
    refused = await _add(store, upload, DATA[:10], 5)
    assert refused.status_code == 400
    assert mentions("upload-offset", "5", "0 bytes").search(refused.json()["error"]["message"])
    early = await store.post(f"/v1/uploads/{upload['id']}", json={})
    assert mentions(f"0 bytes of {len(DATA)}").search(early.json()["error"]["message"])
    assert (await store.get("/v1/uploads/nothing")).status_code == 404


@pytest.mark.asyncio
async def test_what_is_under_way_is_listed_with_its_size(store: httpx.AsyncClient) -> None:
    await _add(store, await _begin(store), DATA[:1000], 0)
    found = (await store.get("/v1/transfers")).json()["transfers"]
    assert found == [{"source": f"store://{BEGIN['name']}", "received": 1000, "size": len(DATA)}]


@pytest.mark.asyncio
async def test_a_file_with_another_digest_is_not_stored(store: httpx.AsyncClient) -> None:
    upload = await _begin(store)
    await _add(store, upload, DATA, 0)
    refused = await store.post(f"/v1/uploads/{upload['id']}", json={"digest": f"sha256:{'0' * 64}"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (422, "DigestMismatch")
    assert (await store.get(f"/v1/files/{BEGIN['name']}")).status_code == 404


@pytest.mark.asyncio
async def test_a_file_beyond_the_free_space_is_refused_before_it_is_sent(
    store: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(total=1 << 30, used=(1 << 30) - 2048, free=2048)
    monkeypatch.setattr("edge_runtime.store.receiving.shutil.disk_usage", lambda folder: usage)
    refused = await store.post("/v1/uploads", json=BEGIN)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (507, "DiskFull")
    wanted = mentions(BEGIN["name"], f"{len(DATA)} bytes", "2048 free", "store.persistence.size")
    assert wanted.search(refused.json()["error"]["message"])
    with pytest.raises(DiskFull, match="4096 bytes"):
        check_room(tmp_path, 4096, "said")


class _Breaking:
    """A store whose connection breaks in the middle of parts."""

    def __init__(self, breaks: int) -> None:
        self.stored, self.breaks = bytearray(), breaks

    def answer(self, request: httpx.Request) -> httpx.Response:
        document = {"id": "one", "offset": len(self.stored)}
        if request.method == "PATCH":
            assert int(request.headers["upload-offset"]) == len(self.stored)
            body = request.read()
            if self.breaks:
                self.breaks -= 1
                self.stored += body[: len(body) // 2]
                raise httpx.ReadError("the connection broke")
            self.stored += body
        return httpx.Response(200, json=document | {"digest": DIGEST, "size": len(self.stored)})


def _client(server: _Breaking) -> StoreClient:
    transport = httpx.MockTransport(server.answer)
    return StoreClient(Access("http://store.test:8080"), sleep=lambda seconds: None, transport=transport)


def test_put_sends_the_rest_of_a_part_after_a_break(tmp_path: Path) -> None:
    server = _Breaking(breaks=2)
    (tmp_path / "digits.onnx").write_bytes(DATA)
    stored = put(_client(server), tmp_path / "digits.onnx", "d.onnx")
    assert stored == Stored("store://d.onnx", DIGEST)
    assert bytes(server.stored) == DATA


def test_a_store_that_stays_away_ends_the_upload() -> None:
    sending = Sending(_client(_Breaking(breaks=100)), "d.onnx")
    sending.write(DATA)
    with pytest.raises(Unreachable, match=r"http://store.test:8080"):
        sending.end()
