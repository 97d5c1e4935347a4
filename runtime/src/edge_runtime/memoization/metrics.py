"""Prometheus metrics of the filter and the cache, registered when either is first enabled."""

from __future__ import annotations

from math import isfinite
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edge_runtime.memoization.input_filters import COMPUTED, DROPPED, REPEATED
from edge_runtime.memoization.result_caches import HIT, JOINED, MISS, STALE

_DISTANCES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class FilterCounts:
    """What became of the inputs of one service, and how far they were from the reference."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        total = Counter(
            "edge_input_filter", "Inputs by what became of them", ("service", "outcome"), registry=registry
        )
        self._outcomes = {o: total.labels(service, o) for o in (COMPUTED, REPEATED, DROPPED)}
        self._distance = Histogram(
            "edge_input_filter_distance",
            "Distance of an input to the last one that was computed",
            ("service",),
            buckets=_DISTANCES,
            registry=registry,
        ).labels(service)

    def input(self, outcome: str, distance: float | None) -> None:
        """One more input."""
        self._outcomes[outcome].inc()
        if distance is not None and isfinite(distance):
            self._distance.observe(distance)


class CacheCounts:
    """How look-ups of one service's results went, and how many bytes are kept."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        total = Counter(
            "edge_result_cache", "Look-ups by how they went", ("service", "outcome"), registry=registry
        )
        self._outcomes = {o: total.labels(service, o) for o in (HIT, JOINED, MISS, STALE)}
        self._bytes = Gauge(
            "edge_result_cache_bytes", "Bytes of the results that are kept", ("service",), registry=registry
        ).labels(service)

    def lookup(self, outcome: str) -> None:
        """One more look-up."""
        self._outcomes[outcome].inc()

    def holds(self, size: int) -> None:
        """So many bytes are kept now."""
        self._bytes.set(size)
