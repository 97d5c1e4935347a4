"""Slices from the cache of this node, else from the model store."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed, DigestMismatch, Unreachable
from edge_runtime.model_store import Blob, ModelStore, whole

_LONGEST: Final = 86_400.0
_AWAY: Final = 30.0  # seconds until a cache that did not respond gets another request
_LEFT_TO_STORE: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.INSUFFICIENT_STORAGE,
)
"""The cache works and does not have the blob for this caller."""

NODE_CACHE, MODEL_STORE = "node-cache", "model-store"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until the cache has failed.

    connect: with the look-up of its name; the packets to a node without an agent are dropped. answer: until
    the first byte, for which the agent can ask the store, which reads the whole blob first. stalled: without
    a byte after it.
    """

    connect: float = 2.0
    answer: float = 45.0
    stalled: float = 45.0


class FetchCounts:
    """Where slices came from, and failures of the node's cache."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        fetches = Counter(
            "edge_slice_fetches",
            "Slices that were fetched, by where they came from; only with a node's cache",
            ("service", "source"),
            registry=registry,
        )
        self._sources = {name: fetches.labels(service, name) for name in (NODE_CACHE, MODEL_STORE)}
        self._failures = Counter(
            "edge_slice_fetch_failures",
            "Slices that the node's cache failed to deliver, so that the model store was used",
            ("service",),
            registry=registry,
        ).labels(service)

    def fetched(self, source: str) -> None:
        """Counts a slice that arrived."""
        self._sources[source].inc()

    def failed(self) -> None:
        """Counts a failure of the cache."""
        self._failures.inc()


class NodeCache:
    """A `BlobSource`: the cache at `url`, then the model store.

    A cache that does not respond gets no request for 30 s. Its transfers are not measured: they say nothing
    about the node's link.
    """

    def __init__(
        self,
        url: str,
        store: ModelStore,
        counts: FetchCounts,
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: Patience = Patience(),
    ) -> None:
        self._client = HttpClient(url, resolver, tls=tls, size=1)
        self._url, self._store, self._counts, self._clock = url, store, counts, clock
        self._patience, self._again = patience, -inf
        self._failed = False
        """Whether the last request failed, which is logged once."""

    async def blob(self, digest: str) -> Blob:
        """Returns a blob after checking its digest. Raises StorageError like the model store."""
        data = await self._cached(digest) if self._clock() >= self._again else None
        source = NODE_CACHE if data is not None else MODEL_STORE
        if data is None:
            data = await self._store.blob(digest)
        self._counts.fetched(source)
        return data

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    async def _cached(self, digest: str) -> Blob | None:
        """Returns a blob from the cache; None if it does not deliver it."""
        try:
            return await self._received(digest)
        except (ConnectionFailed, TimeoutError) as error:
            self._fail(str(error) or "timed out")
            self._again = self._clock() + _AWAY
        except (Unreachable, DigestMismatch) as error:
            self._fail(str(error))
        return None

    async def _received(self, digest: str) -> Blob | None:
        loop, parts, headers = asyncio.get_running_loop(), list[bytes](), self._store.headers()
        async with asyncio.timeout(self._patience.connect) as limit:

            def wait(seconds: float) -> None:
                limit.reschedule(loop.time() + seconds)

            def received(part: bytes) -> None:
                wait(self._patience.stalled)
                parts.append(part)

            response = await self._client.request(
                "GET",
                f"/v1/blobs/{digest}",
                headers=headers,
                within=_LONGEST,
                on_start=lambda _: wait(self._patience.answer),
                sink=received,
            )
        if response.status in _LEFT_TO_STORE:
            return None
        if response.status != HTTPStatus.OK:
            said = b"".join(parts)[:300].decode("latin-1")
            raise Unreachable(f"HTTP {response.status} {said}")
        data = await whole(parts, digest, self._url)
        if self._failed:
            self._failed = False
            _log.info("node's cache %s: responds again", self._url)
        return data

    def _fail(self, why: str) -> None:
        self._counts.failed()
        if not self._failed:
            self._failed = True
            _log.warning("node's cache %s: %s: fetching from the model store", self._url, why)
