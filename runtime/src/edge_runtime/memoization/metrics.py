"""Prometheus metrics of the filter and the cache, registered when either is first enabled."""

from __future__ import annotations

from math import isfinite
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from edge_runtime.memoization.input_filters import COMPUTED, DROPPED, REPEATED
from edge_runtime.memoization.result_caches import HIT, JOINED, MISS, STALE

_DISTANCES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class FilterCounts:
    """Inputs of one service by outcome, and their distances to the reference."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        total = Counter(
            "edge_input_filter", "Inputs by outcome of the filter", ("service", "outcome"), registry=registry
        )
        self._outcomes = {o: total.labels(service, o) for o in (COMPUTED, REPEATED, DROPPED)}
        self._distance = Histogram(
            "edge_input_filter_distance",
            "Distance of an input to the last computed one",
            ("service",),
            buckets=_DISTANCES,
            registry=registry,
        ).labels(service)

    def input(self, outcome: str, distance: float | None) -> None:
        """Counts an input."""
        self._outcomes[outcome].inc()
        if distance is not None and isfinite(distance):
            self._distance.observe(distance)


class CacheCounts:
    """Lookups in the result cache of one service by outcome, and the bytes in it."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        total = Counter("edge_result_cache", "Lookups by outcome", ("service", "outcome"), registry=registry)
        self._outcomes = {o: total.labels(service, o) for o in (HIT, JOINED, MISS, STALE)}
        self._bytes = Gauge(
            "edge_result_cache_bytes", "Bytes of the cached results", ("service",), registry=registry
        ).labels(service)

    def lookup(self, outcome: str) -> None:
        """Counts a lookup."""
        self._outcomes[outcome].inc()

    def holds(self, size: int) -> None:
        """Sets the bytes in the cache."""
        self._bytes.set(size)
