"""The metrics of services and pools are what their objects say, and end with them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from edge_operator.loops.object_metrics import ObjectMetrics
from edge_operator.observed.mirror import Mirror
from edge_operator.observed.mirrored_cluster import MirroredCluster
from edge_operator.pool.server_availability import Availability
from operator_objects import TRITON, node_body, pool_body, service_body

OWN = {"namespace": "default", "service": "digits", "tenant": "default", "pool": "factory"}
STATUS: dict[str, Any] = {
    "conditions": [
        {"type": "Ready", "status": "True"},
        {"type": "Degraded", "status": "False"},
        {"type": "SLOMet", "status": "Unknown"},
    ],
    "entryCounts": {"total": 3, "ready": 2, "away": 1},
    "slo": {
        "errorBudgetRemaining": "0.4",
        "windows": [
            {"window": "5m", "requests": 100, "attainment": "0.97"},
            {"window": "1h", "requests": 0},
        ],
    },
    "qoe": {
        "accuracy": "0.95",
        "latency": "40ms",
        "communication": "4k",
        "energy": 0.25,
        "privacy": "InputStaysLocal",
        "memory": "512k",
    },
}


class _Cluster:
    """Only what is mirrored."""


class _Setup:
    def __init__(self) -> None:
        self.mirror, self.leads, self.availability = Mirror(), True, Availability()
        reads = MirroredCluster(_Cluster(), self.mirror)  # type: ignore[arg-type]
        self.registry = CollectorRegistry()
        now = datetime(2026, 11, 30, 10, tzinfo=UTC)
        metrics = ObjectMetrics(reads, lambda: self.leads, lambda: self.availability, lambda: now)
        self.registry.register(metrics)

    def value(self, name: str, labels: dict[str, str]) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def names(self) -> set[str]:
        return {sample.name for family in self.registry.collect() for sample in family.samples}


@pytest.fixture
def setup() -> _Setup:
    made = _Setup()
    body = service_body(slo={"latency": "90ms", "percentile": 99})
    made.mirror.put("InferenceService", body | {"status": STATUS})
    return made


def test_the_objective_is_the_percentile_unless_one_is_declared(setup: _Setup) -> None:
    assert setup.value("edge_slo_objective", OWN) == 0.99
    setup.mirror.put("InferenceService", service_body())
    assert setup.value("edge_slo_objective", OWN) == 0.95
    assert setup.value("edge_slo_latency_seconds", OWN) == 0.09


def test_windows_and_the_budget_are_those_of_the_status(setup: _Setup) -> None:
    assert setup.value("edge_slo_attainment_ratio", OWN | {"window": "5m"}) == 0.97
    assert setup.value("edge_slo_attainment_ratio", OWN | {"window": "1h"}) is None
    assert setup.value("edge_slo_error_budget_remaining_ratio", OWN | {"window": "28d"}) == 0.4


def test_a_condition_is_one_or_zero_and_none_while_it_is_unknown(setup: _Setup) -> None:
    values = {
        name: setup.value("edge_service_condition", OWN | {"condition": name})
        for name in ("Ready", "Degraded", "SLOMet")
    }
    assert values == {"Ready": 1, "Degraded": 0, "SLOMet": None}
    assert setup.value("edge_service_entries", OWN | {"state": "away"}) == 1
    assert setup.value("edge_service_suspended", OWN) == 0


def test_the_six_measures_of_quality_have_one_metric_each(setup: _Setup) -> None:
    wanted = {
        "accuracy_ratio": 0.95,
        "latency_seconds": 0.04,
        "communication_bytes": 4000,
        "energy_joules": 0.25,
        "privacy_level": 1,
        "memory_bytes": 512_000,
    }
    assert {name: setup.value(f"edge_qoe_{name}", OWN) for name in wanted} == wanted


def test_a_series_ends_with_its_service(setup: _Setup) -> None:
    setup.mirror.remove("InferenceService", service_body())
    assert setup.names() == {"edge_oldest_deletion_seconds"}


def test_a_replica_that_does_not_lead_exports_none(setup: _Setup) -> None:
    setup.leads = False
    assert setup.names() == set()


def test_a_service_that_is_refused_has_no_objective(setup: _Setup) -> None:
    setup.mirror.put("InferenceService", service_body(slo={"latency": "0s"}))
    assert setup.value("edge_slo_objective", OWN) is None


def test_a_service_has_the_tenant_of_its_namespace(setup: _Setup) -> None:
    tenant = {
        "metadata": {"name": "day"},
        "spec": {"namespaceSelector": {"matchLabels": {"shift": "day"}}},
    }
    setup.mirror.put("Tenant", tenant)
    setup.mirror.put("Namespace", {"metadata": {"name": "default", "labels": {"shift": "day"}}})
    assert setup.value("edge_slo_objective", OWN | {"tenant": "day"}) == 0.99


def test_a_pool_has_its_nodes_and_servers(setup: _Setup) -> None:
    status = {
        "nodes": [{"name": "cam-1", "deviceClass": "camera"}, {"name": "cam-2", "deviceClass": "camera"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    setup.mirror.put("DevicePool", pool_body() | {"status": status})
    setup.mirror.put("Node", node_body("cam-1", "camera"))
    setup.mirror.put("Node", node_body("cam-2", "camera", ready=False))
    own, server = {"pool": "factory"}, {"pool": "factory", "server": "cloud"}
    assert setup.value("edge_pool_nodes", own | {"ready": "true"}) == 1
    assert setup.value("edge_pool_nodes", own | {"ready": "false"}) == 1
    assert setup.value("edge_pool_condition", own | {"condition": "Ready"}) == 1
    assert setup.value("edge_pool_triton_up", server) is None  # not known yet
    setup.availability = Availability().noted({f"http://{TRITON}": None}, 1.0)
    assert setup.value("edge_pool_triton_up", server) == 0
    setup.availability = setup.availability.noted({f"http://{TRITON}": frozenset()}, 2.0)
    assert setup.value("edge_pool_triton_up", server) == 1


def test_the_oldest_deletion_of_each_kind_has_its_age_until_it_ends(setup: _Setup) -> None:
    def deleted(body: dict[str, Any], since: str, **named: str) -> dict[str, Any]:
        return body | {"metadata": body["metadata"] | {"deletionTimestamp": f"2026-11-30T{since}Z"} | named}

    def ages() -> list[float | None]:
        kinds = ("InferenceService", "DevicePool", "Tenant")
        return [setup.value("edge_oldest_deletion_seconds", {"kind": kind}) for kind in kinds]

    assert ages() == [0, 0, 0]
    setup.mirror.put("InferenceService", deleted(service_body(), "09:59:58"))
    setup.mirror.put("DevicePool", pool_body())
    setup.mirror.put("DevicePool", deleted(pool_body(), "09:00:00", name="old"))
    setup.mirror.put("DevicePool", deleted(pool_body(), "08:00:00", name="older"))
    tenant = {"metadata": {"name": "day"}, "spec": {"namespaceSelector": {}}}
    setup.mirror.put("Tenant", deleted(tenant, "10:00:01"))  # by the clock of the API server
    assert ages() == [2, 7200, 0]
    setup.mirror.remove("DevicePool", deleted(pool_body(), "08:00:00", name="older"))
    assert ages() == [2, 3600, 0]
