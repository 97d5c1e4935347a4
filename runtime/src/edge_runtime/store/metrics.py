"""The Prometheus metrics of the model store."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest

RESOURCES: Final = frozenset(
    {"models", "slices", "codecs", "files", "blobs", "profiles", "uploads", "transfers"}
)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH"})
OTHER: Final = "other"


class StoreMetrics:
    """Counts requests, without health checks, link probes and scrapes: they ask for nothing stored.

    With TLS, also handshakes that failed.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "edge_store_requests",
            "Requests by method and resource, without health checks and link probes",
            ("method", "resource"),
            registry=self._registry,
        )
        self._failed_handshakes = Counter(
            "edge_store_failed_handshakes",
            "TLS handshakes of clients that failed, by whether a certificate was the cause",
            ("cause",),
            registry=self._registry,
        )

    def failed_handshake(self, cause: str) -> None:
        """Counts a TLS handshake of a client that failed."""
        self._failed_handshakes.labels(cause).inc()

    def count(self, method: str, resource: str) -> None:
        """Counts one request."""
        self._requests.labels(
            method if method in METHODS else OTHER, resource if resource in RESOURCES else OTHER
        ).inc()

    def text(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
