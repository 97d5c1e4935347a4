"""The metrics that the parts of the product export, by the names of their series."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from edge_operator import metrics as operator_metrics
from edge_operator.admission import metrics as admission_metrics
from edge_operator.health import Health
from edge_operator.loops.object_metrics import ObjectMetrics
from edge_operator.pool.server_availability import Availability
from edge_runtime.memoization.metrics import CacheCounts, FilterCounts
from edge_runtime.metrics import Metrics
from edge_runtime.node_cache.client import FetchCounts
from edge_runtime.node_cache.metrics import CacheMetrics
from edge_runtime.store.metrics import StoreMetrics

_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "gauge": ("",),
}
PROCESS = ("process_resident_memory_bytes", "process_cpu_seconds_total")
"""Of the client library, in the operator."""


class _Nothing:
    def get(self, *_: Any) -> None: ...

    def find(self, *_: Any, **__: Any) -> list[Any]:
        return []


def runtime_registry() -> CollectorRegistry:
    """All that a runtime exports, with the metrics of features that are off by default."""
    metrics = Metrics("digits")
    process = metrics.process
    process.running(lambda: 0.0)
    process.slowdown(lambda: 1.0)
    process.spare(lambda: 1.0)
    process.certificate(lambda: 0.0)
    FilterCounts(metrics.registry, "digits")
    CacheCounts(metrics.registry, "digits")
    FetchCounts(metrics.registry, "digits")
    return metrics.registry


def object_metrics() -> ObjectMetrics:
    """The collector of the operator, without objects."""
    return ObjectMetrics(_Nothing(), lambda: True, Availability, lambda: datetime.now(UTC))


def store_registry() -> CollectorRegistry:
    """All that the model store exports."""
    return StoreMetrics(lambda: (2, 1, 1)).registry


def cache_registry() -> CollectorRegistry:
    """All that the cache of a node exports."""
    return CacheMetrics(lambda: 1, 2).registry


def families() -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """Yields the name, the type and the labels of each family."""
    for registry in (runtime_registry(), store_registry(), cache_registry()):
        yield from _of(_collectors(registry))
    for module in (operator_metrics, admission_metrics):
        yield from _of(each for each in vars(module).values() if isinstance(each, MetricWrapperBase))
    for family in (*object_metrics().describe(), *Health().describe()):
        yield family.name, family.type, tuple(getattr(family, "_labelnames", ()))


def exported() -> Mapping[str, frozenset[str]]:
    """The names of series as Prometheus has them, with their labels."""
    found = {
        f"{name}{suffix}": frozenset(labels)
        for name, type_, labels in families()
        for suffix in _SUFFIXES[type_]
    }
    return found | dict.fromkeys(PROCESS, frozenset())


def _collectors(registry: CollectorRegistry) -> list[MetricWrapperBase]:
    found = registry._names_to_collectors.values()  # noqa: SLF001 - the only list of them
    return [each for each in dict.fromkeys(found) if isinstance(each, MetricWrapperBase)]


def _of(collectors: Iterable[MetricWrapperBase]) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    for collector in collectors:
        for family in collector.describe():
            yield family.name, family.type, tuple(collector._labelnames)  # noqa: SLF001 - no other way
