"""The Prometheus metrics of a node's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

HIT, MISS, JOINED, PASSED, REFUSED, FAILED = "hit", "miss", "joined", "passed", "refused", "failed"
RESULTS: Final = (HIT, MISS, JOINED, PASSED, REFUSED, FAILED)
"""Of a request for a blob: from the disk; from the store; from a download that another request began; left
to the store because the blob does not fit; not allowed; not possible."""
DISK, STORE = "disk", "store"


class CacheMetrics:
    """Counts requests for blobs, without health checks and scrapes."""

    def __init__(self, used: Callable[[], float], limit: float) -> None:
        """used: returns the bytes of the blobs on the disk, of which there are at most `limit`."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "edge_node_cache_requests", "Requests for blobs by result", ("result",), registry=self.registry
        )
        for result in RESULTS:
            self._requests.labels(result)
        self._bytes = Counter(
            "edge_node_cache_bytes",
            "Bytes of blobs that runtimes got from the node's disk, and that came from the model store",
            ("source",),
            registry=self.registry,
        )
        for source in (DISK, STORE):
            self._bytes.labels(source)
        self._evictions = Counter(
            "edge_node_cache_evictions",
            "Blobs that were removed to make room for others",
            registry=self.registry,
        )
        self._damaged = Counter(
            "edge_node_cache_damaged",
            "Blobs on the disk that did not have their digest and were removed",
            registry=self.registry,
        )
        self._failed_handshakes = Counter(
            "edge_node_cache_failed_handshakes",
            "TLS handshakes of clients that failed, by whether a certificate was the cause",
            ("cause",),
            registry=self.registry,
        )
        Gauge(
            "edge_node_cache_used_bytes", "Bytes of the blobs on the disk", registry=self.registry
        ).set_function(used)
        Gauge(
            "edge_node_cache_limit_bytes", "Bytes that blobs may use on the disk", registry=self.registry
        ).set(limit)

    def request(self, result: str) -> None:
        """Counts a request by its result."""
        self._requests.labels(result).inc()

    def transferred(self, source: str, size: int) -> None:
        """Counts the bytes of a blob."""
        self._bytes.labels(source).inc(size)

    def evicted(self) -> None:
        """Counts a blob that made room for others."""
        self._evictions.inc()

    def damaged(self) -> None:
        """Counts a blob that did not have its digest."""
        self._damaged.inc()

    def failed_handshake(self, cause: str) -> None:
        """Counts a TLS handshake of a client that failed."""
        self._failed_handshakes.labels(cause).inc()

    def text(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
