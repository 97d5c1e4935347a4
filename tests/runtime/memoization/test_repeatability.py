"""Whether a model is repeatable: requested from the store once, and known after a start without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import NotFound, StorageError, Unreachable
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.repeatability import Repeatability


class Cards:
    """A model store that has the metadata of one model, or an error."""

    def __init__(self, metadata: Any) -> None:
        self.given, self.asked = metadata, 0

    async def metadata(self, model: str) -> Any:
        self.asked += 1
        if isinstance(self.given, StorageError):
            raise self.given
        return self.given


def repeatability(folder: Path, store: Cards) -> Repeatability:
    return Repeatability(DiskCache(folder / "known.json"), store)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said", ["", 'operator RandomNormal "n" draws at random'], ids=["repeatable", "random"]
)
async def test_what_the_store_said_is_known_without_it(tmp_path: Path, said: str) -> None:
    store = Cards({"unrepeatable": said})
    first = repeatability(tmp_path, store)
    assert [await first.unrepeatable("sha256:m") for _ in range(2)] == [said, said]
    assert store.asked == 1
    gone = Cards(Unreachable("no store"))
    assert await repeatability(tmp_path, gone).unrepeatable("sha256:m") == said
    assert gone.asked == 0


@pytest.mark.parametrize(
    "response", [{}, NotFound("no model sha256:m")], ids=["older store", "no such model"]
)
async def test_a_store_that_does_not_know_leaves_it_unknown(tmp_path: Path, response: Any) -> None:
    assert await repeatability(tmp_path, Cards(response)).unrepeatable("sha256:m")


async def test_a_store_that_has_not_registered_the_model_yet_is_requested_after_a_restart(
    tmp_path: Path,
) -> None:
    assert await repeatability(tmp_path, Cards(NotFound("no model sha256:m"))).unrepeatable("sha256:m")
    assert await repeatability(tmp_path, Cards({"unrepeatable": ""})).unrepeatable("sha256:m") == ""


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "502 Bad Gateway"])
async def test_a_store_that_cannot_check_the_token_is_out_of_reach(status: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = b'{"error": {"message": "authorization: the token cannot be checked"}}'
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        store = ModelStore(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(Unreachable, match="the token cannot be checked"):
            await store.metadata("sha256:m")
        store.close()


async def test_a_missing_token_for_the_store_can_be_mounted_later(tmp_path: Path) -> None:
    store = ModelStore("http://127.0.0.1:1", token=tmp_path / "token")
    with pytest.raises(Unreachable, match="--store-token-file"):
        await store.metadata("sha256:m")


async def test_an_error_of_a_store_out_of_reach_can_be_retried(tmp_path: Path) -> None:
    store = Cards(Unreachable("no store"))
    asked = repeatability(tmp_path, store)
    with pytest.raises(Unreachable):
        await asked.unrepeatable("sha256:m")
    store.given = {"unrepeatable": ""}
    assert await asked.unrepeatable("sha256:m") == ""
