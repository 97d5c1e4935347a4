"""The Prometheus metrics of the model store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

RESOURCES: Final = frozenset(
    {"models", "slices", "codecs", "files", "blobs", "profiles", "uploads", "transfers"}
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH"})
OTHER: Final = "other"
DISK, DEFECT = "disk", "defect"


class StoreMetrics:
    """Counts requests, without health checks, link probes and scrapes: they ask for nothing stored.

    With TLS, also handshakes that failed.
    """

    def __init__(self, usage: Callable[[], tuple[int, int, int]]) -> None:
        """usage: returns total, used and free bytes of the file system of the store's folder."""
        self.registry = CollectorRegistry()
        for name, text, index in (
            ("edge_store_disk_size_bytes", "Bytes of the file system of the store's folder", 0),
            ("edge_store_disk_free_bytes", "Free bytes of the file system of the store's folder", 2),
        ):
            Gauge(name, text, registry=self.registry).set_function(partial(_part, usage, index))
        self._failures = Counter(
            "edge_store_failures",
            "Requests that failed because of the store: its disk, or a defect",
            ("cause",),
            registry=self.registry,
        )
        for cause in (DISK, DEFECT):
            self._failures.labels(cause)
        self._requests = Counter(
            "edge_store_requests",
            "Requests by method and resource, without health checks and link probes",
            ("method", "resource"),
            registry=self.registry,
        )
        self._failed_handshakes = Counter(
            "edge_store_failed_handshakes",
            "TLS handshakes of clients that failed, by whether a certificate was the cause",
            ("cause",),
            registry=self.registry,
        )

    def failed_handshake(self, cause: str) -> None:
        """Counts a TLS handshake of a client that failed."""
        self._failed_handshakes.labels(cause).inc()

    def failure(self, cause: str) -> None:
        """Counts a request that failed because of the store."""
        self._failures.labels(cause).inc()

    def count(self, method: str, resource: str) -> None:
        """Counts one request."""
        self._requests.labels(
            method if method in METHODS else OTHER, resource if resource in RESOURCES else OTHER
        ).inc()

    def text(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _part(usage: Callable[[], tuple[int, int, int]], index: int) -> float:
    return float(usage()[index])
