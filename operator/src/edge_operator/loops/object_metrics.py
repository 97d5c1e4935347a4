"""Metrics of services, pools and tenants, read from the mirror when Prometheus scrapes the leading replica.

A series ends with its object, so that labels are bounded by the objects in the cluster. Cost of a scrape: one
pass over the services, pools, tenants and nodes, about 20 µs for each service.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from edge_api.devicepools import TritonServer
from edge_api.inferenceservices import Slo
from edge_api.policies import Privacy
from edge_api.qoe import QoeStatus
from edge_operator.cluster import DEVICE_POOLS, INFERENCE_SERVICES, NODES, TENANTS, Kind
from edge_operator.observed import snapshots
from edge_operator.observed.snapshots import Reads
from edge_operator.pool.revisions import is_candidate
from edge_operator.pool.server_availability import Availability
from edge_operator.pool.tenancy import Tenancy

Body = Mapping[str, Any]
_SERVICE: Final = ("namespace", "service", "tenant", "pool")
_BUDGET_WINDOW: Final = "28d"
_PRIVACY: Final[Mapping[Privacy, int]] = {"Any": 0, "InputStaysLocal": 1, "Local": 2}
_NONE: Final[Body] = {}


class ObjectMetrics(Collector):
    """Collects the metrics from the mirror. `collect` runs in the threads of the metrics' HTTP server."""

    def __init__(
        self,
        reads: Reads,
        leads: Callable[[], bool],
        availability: Callable[[], Availability],
        wall: Callable[[], datetime],
    ) -> None:
        """leads: whether this replica writes. availability: of the Triton servers. wall: the time now."""
        self._reads, self._leads, self._availability = reads, leads, availability
        self._wall = wall

    def describe(self) -> Iterable[Metric]:
        """Returns the families without series, by which a registry knows their names."""
        return _Families().all()

    def collect(self) -> Iterable[Metric]:
        """Returns the families; none if another replica leads."""
        if not self._leads():
            return []
        families, tenancy = _Families(), snapshots.tenancy(self._reads)
        for body in self._reads.find(INFERENCE_SERVICES):
            families.service(body, tenancy)
        ready = {node["metadata"]["name"] for node in self._reads.find(NODES) if _is_ready(node)}
        for body in self._reads.find(DEVICE_POOLS):
            families.pool(body, ready, self._availability())
        for kind in (INFERENCE_SERVICES, DEVICE_POOLS, TENANTS):
            families.deletions(kind, self._reads.find(kind), self._wall())
        return families.all()


class _Families:
    """The families of one scrape."""

    def __init__(self) -> None:
        def family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(name, text, labels=labels)

        self.objective = family(
            "edge_slo_objective", "Share of requests that must meet the SLO, from 0 to 1", *_SERVICE
        )
        self.latency = family("edge_slo_latency_seconds", "Latency of the SLO: spec.slo.latency", *_SERVICE)
        self.attainment = family(
            "edge_slo_attainment_ratio",
            "Share of requests in a window that met the SLO, of status.slo",
            *(*_SERVICE, "window"),
        )
        self.budget = family(
            "edge_slo_error_budget_remaining_ratio",
            "Share of the error budget that is left, of status.slo",
            *(*_SERVICE, "window"),
        )
        self.condition = family(
            "edge_service_condition",
            "1 if a condition of a service is True, 0 if it is False; none while it is Unknown",
            *(*_SERVICE, "condition"),
        )
        self.rollout = family(
            "edge_rollout_weight_ratio",
            "Share of the requests that the candidate answers; none without a candidate",
            *(*_SERVICE, "phase"),
        )
        self.suspended = family("edge_service_suspended", "1 if spec.suspend of a service is true", *_SERVICE)
        self.entries = family(
            "edge_service_entries", "Entry nodes of a service by what they do", *(*_SERVICE, "state")
        )
        self.qoe = {
            name: family(f"edge_qoe_{name}", text, *_SERVICE)
            for name, text in (
                ("accuracy_ratio", "Mean accuracy of the active routes of a service"),
                ("latency_seconds", "95th percentile of the latency at the slowest entry node"),
                (
                    "communication_bytes",
                    "Mean bytes of a request on the uplink to a Triton server, as planned",
                ),
                ("energy_joules", "Mean joules of a request at an entry node, as planned"),
                ("privacy_level", "What leaves entry nodes: 0 inputs, 1 other tensors, 2 nothing"),
                ("memory_bytes", "Bytes of a service's slices at the entry node that loads most"),
            )
        }
        self.nodes = family("edge_pool_nodes", "Nodes of a pool by whether they are Ready", "pool", "ready")
        self.pool_condition = family(
            "edge_pool_condition",
            "1 if a condition of a pool is True, 0 if it is False; none while it is Unknown",
            "pool",
            "condition",
        )
        self.triton = family(
            "edge_pool_triton_up",
            "1 if a Triton server of a pool responds, 0 if not; none until it is known",
            "pool",
            "server",
        )
        self.deletion = family(
            "edge_oldest_deletion_seconds",
            "Seconds since the oldest deletion of a kind that has not ended; 0 without one",
            "kind",
        )

    def all(self) -> list[Metric]:
        slo = (self.objective, self.latency, self.attainment, self.budget)
        pools = (self.nodes, self.pool_condition, self.triton)
        return [
            *slo,
            self.condition,
            self.rollout,
            self.suspended,
            self.entries,
            *self.qoe.values(),
            *pools,
            self.deletion,
        ]

    def service(self, body: Body, tenancy: Tenancy) -> None:
        """Adds the series of a service."""
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or _NONE
        namespace = metadata["namespace"]
        own = [namespace, metadata["name"], tenancy.of(namespace), spec["devicePool"]]
        with suppress(ValidationError):  # of a service that is refused
            slo = Slo.model_validate(spec["slo"])
            self.objective.add_metric(own, slo.objective_share)
            self.latency.add_metric(own, float(slo.latency))
        for window in (status.get("slo") or _NONE).get("windows") or ():
            _add(self.attainment, [*own, window["window"]], _number(window.get("attainment")))
        left = (status.get("slo") or _NONE).get("errorBudgetRemaining")
        _add(self.budget, [*own, _BUDGET_WINDOW], _number(left))
        if not is_candidate(body):  # the service that it is a revision of reports them
            _conditions(self.condition, own, status)
        rollout = status.get("rollout") or _NONE
        if rollout.get("phase", "Stable") not in ("Stable", "Returned"):
            self.rollout.add_metric([*own, rollout["phase"]], (rollout.get("weight") or 0) / 100)
        self.suspended.add_metric(own, float(bool(spec.get("suspend"))))
        for state, count in (status.get("entryCounts") or _NONE).items():
            self.entries.add_metric([*own, state], count)
        for name, value in _qoe(status.get("qoe") or _NONE):
            _add(self.qoe[name], own, value)

    def pool(self, body: Body, ready: set[str], availability: Availability) -> None:
        """Adds the series of a pool. ready: names of Ready nodes."""
        name, status = body["metadata"]["name"], body.get("status") or _NONE
        nodes = {node["name"] for node in status.get("nodes") or ()}
        for is_ready, found in (("true", nodes & ready), ("false", nodes - ready)):
            self.nodes.add_metric([name, is_ready], len(found))
        _conditions(self.pool_condition, [name], status)
        for server in body["spec"].get("tritonServers") or ():
            with suppress(ValidationError):
                address = TritonServer.model_validate(server).url
                responds, _ = availability.since.get(address, (None, 0.0))
                _add(self.triton, [name, server["name"]], None if responds is None else float(responds))

    def deletions(self, kind: Kind, bodies: Iterable[Body], now: datetime) -> None:
        """Adds the series of a kind. bodies: all objects of it."""
        began = [since for body in bodies if (since := body["metadata"].get("deletionTimestamp"))]
        waited = max((now - datetime.fromisoformat(each)).total_seconds() for each in began) if began else 0.0
        self.deletion.add_metric([kind.kind], max(0.0, waited))


def _qoe(qoe: Body) -> Iterator[tuple[str, float | None]]:
    if not qoe:
        return
    found = QoeStatus.model_validate(qoe)
    yield "accuracy_ratio", float(found.accuracy)
    yield "latency_seconds", found.latency
    yield "communication_bytes", found.communication
    yield "energy_joules", found.energy
    yield "privacy_level", _PRIVACY[found.privacy]
    yield "memory_bytes", found.memory


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _conditions(family: GaugeMetricFamily, labels: list[str], status: Body) -> None:
    for condition in status.get("conditions") or ():
        value = {"True": 1.0, "False": 0.0}.get(condition.get("status", ""))
        _add(family, [*labels, condition["type"]], value)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


def _is_ready(node: Body) -> bool:
    conditions = (node.get("status") or _NONE).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
