"""Slices that the model store sends are checked and joined beside the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge_runtime.errors import DigestMismatch, NotFound, Unreachable
from edge_runtime.model_store import ModelStore
from messages import mentions

CONTENT = bytes(range(256)) * 2000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@asynccontextmanager
async def store_sending(body: bytes, status: str = "200 OK") -> AsyncIterator[ModelStore]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), 1000):  # it arrives in parts
            writer.write(body[at : at + 1000])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        store = ModelStore(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield store
        store.close()


async def test_a_store_is_awaited_that_refuses_the_first_connections() -> None:
    connections: list[int] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        if len(connections) > 2:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        store = ModelStore(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await store.reached(60, pause=0)
        store.close()
    assert len(connections) >= 3


async def test_a_store_that_stays_away_is_unreachable() -> None:
    async with store_sending(b"", "503 Service Unavailable") as store:
        with pytest.raises(Unreachable):
            await store.reached(0)


@pytest.mark.parametrize("content", [CONTENT, b"a", b""])
async def test_a_received_slice_is_what_was_sent(content: bytes) -> None:
    async with store_sending(content) as store:
        received = await store.blob(f"sha256:{hashlib.sha256(content).hexdigest()}")
        assert bytes(received) == content


async def test_a_received_slice_is_checked_on_another_thread_than_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[threading.Thread] = set()

    def recorded(sha256: Callable[..., Any]) -> Callable[..., Any]:
        def call(*data: bytes) -> Any:
            threads.add(threading.current_thread())
            return sha256(*data)

        return call

    monkeypatch.setattr(hashlib, "sha256", recorded(hashlib.sha256))
    async with store_sending(CONTENT) as store:
        await store.blob(DIGEST)
    assert len(threads) == 1
    assert threading.main_thread() not in threads


async def test_other_bytes_than_requested_are_refused() -> None:
    async with store_sending(CONTENT + b"x") as store:
        with pytest.raises(DigestMismatch, match=mentions(DIGEST, str(len(CONTENT) + 1))):
            await store.blob(DIGEST)


async def test_the_stores_message_is_reported_in_place_of_a_slice() -> None:
    said = b'{"error": {"message": "no blob has this digest"}}'
    async with store_sending(said, "404 Not Found") as store:
        with pytest.raises(NotFound, match="no blob has this digest"):
            await store.blob(DIGEST)
