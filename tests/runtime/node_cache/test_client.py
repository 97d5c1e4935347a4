"""A runtime reads slices from its node's cache, and from the model store if that does not deliver them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from edge_runtime.asgi import App, Receive, Scope, Send, respond
from edge_runtime.errors import NotFound, Unreachable
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.node_cache.client import FetchCounts, NodeCache, Patience
from messages import mentions
from node_caches import LARGE, Place, served

Start = Callable[..., "Reading"]


class Reading:
    """A runtime's view: blobs, and the metrics of where they came from."""

    def __init__(self, place: Place, cache: str, patience: Patience) -> None:
        self.now, registry = 0.0, CollectorRegistry()
        token = place.folder / "token"
        token.write_text("shop\n")
        store = ModelStore(place.url, token=token)
        counts = FetchCounts(registry, "")
        self.source = NodeCache(cache, store, counts, clock=lambda: self.now, patience=patience)
        self.registry, self._store = registry, store

    def close(self) -> None:
        self.source.close()
        self._store.close()

    def counted(self) -> tuple[float, float, float]:
        """Slices from the cache, slices from the store, failures of the cache."""
        fetched = [
            self.registry.get_sample_value("edge_slice_fetches_total", {"service": "", "source": source})
            for source in ("node-cache", "model-store")
        ]
        failures = self.registry.get_sample_value("edge_slice_fetch_failures_total", {"service": ""})
        return fetched[0] or 0.0, fetched[1] or 0.0, failures or 0.0


@pytest_asyncio.fixture
async def start(guarded: Place) -> AsyncIterator[Start]:
    """Makes the view of a runtime whose cache is at a URL, or is an application."""
    readings: list[Reading] = []
    with ExitStack() as running:

        def begin(app: App | str, patience: Patience = Patience()) -> Reading:
            url = app if isinstance(app, str) else running.enter_context(served(app))[0]
            readings.append(Reading(guarded, url, patience))
            return readings[-1]

        yield begin
        for reading in readings:
            reading.close()
        await asyncio.sleep(0)  # servers end once their connections have closed


def answering(status: int, body: bytes = b"{}") -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status, body)

    return app


async def test_a_slice_comes_from_the_cache_and_not_from_the_store(
    guarded: Place, start: Start, tmp_path: Path
) -> None:
    digest, agent = guarded.put(LARGE), guarded.agent()
    await asyncio.to_thread(agent.get, digest)
    await asyncio.to_thread(guarded.stop_store)
    reading = start(agent.url)
    slices = SliceCache(tmp_path / "slices", reading.source)
    assert bytes(await slices.fetch(digest)) == LARGE
    assert slices.path(digest).read_bytes() == LARGE
    assert reading.counted() == (1, 0, 0)


async def test_a_cache_that_is_away_is_logged_once_and_tried_again_after_a_while(
    guarded: Place, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_runtime.node_cache.client")
    digest, agent = guarded.put(LARGE), guarded.agent()
    reading = start(agent.url)
    await asyncio.to_thread(guarded.running.close)
    for _ in range(3):
        assert bytes(await reading.source.blob(digest)) == LARGE
    assert reading.counted() == (0, 3, 1)
    reading.now = 30.0
    await reading.source.blob(digest)
    assert reading.counted() == (0, 4, 2)
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert mentions(agent.url, "fetching from the model store").search(said)


async def test_a_cache_that_is_back_is_used_and_said(
    guarded: Place, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_runtime.node_cache.client")
    digest, agent = guarded.put(LARGE), guarded.agent()
    status = 502

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status, LARGE)

    reading = start(app)
    await reading.source.blob(digest)
    status = 200
    await reading.source.blob(digest)
    assert reading.counted() == (1, 1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert agent.results() == {}


async def test_a_cache_that_accepts_and_does_not_answer_costs_its_limit(guarded: Place, start: Start) -> None:
    digest = guarded.put(LARGE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        reading = start(url, Patience(connect=30.0, answer=0.1, stalled=30.0))
        assert bytes(await reading.source.blob(digest)) == LARGE
    assert reading.counted() == (0, 1, 1)


async def test_bytes_of_the_cache_without_the_digest_are_not_used(guarded: Place, start: Start) -> None:
    digest = guarded.put(LARGE)
    reading = start(answering(200, LARGE[:-1] + b"?"))
    assert bytes(await reading.source.blob(digest)) == LARGE
    assert reading.counted() == (0, 1, 1)


@pytest.mark.parametrize("status", [401, 403, 404, 413, 507])
async def test_a_blob_that_the_cache_leaves_to_the_store_is_not_its_failure(
    guarded: Place, start: Start, status: int
) -> None:
    digest = guarded.put(LARGE)
    reading = start(answering(status))
    assert bytes(await reading.source.blob(digest)) == LARGE
    assert reading.counted() == (0, 1, 0)


async def test_the_error_is_that_of_the_store_if_neither_has_the_blob(guarded: Place, start: Start) -> None:
    missing, agent = f"sha256:{'0' * 64}", guarded.agent()
    reading = start(agent.url)
    with pytest.raises(NotFound, match=mentions(guarded.url, missing)):
        await reading.source.blob(missing)
    await asyncio.to_thread(guarded.stop_store)
    with pytest.raises(Unreachable, match=mentions(guarded.url)):
        await reading.source.blob(missing)
    assert reading.counted() == (0, 0, 1)
