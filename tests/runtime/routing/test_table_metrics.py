"""What the plan says of the routes of a table is exported while the table is in use."""

from dataclasses import dataclass

from edge_runtime.metrics import Metrics, ProcessMetrics


@dataclass(frozen=True)
class Planned:
    name: str
    exit: str
    accuracy: float
    min_bandwidth: int
    predicted_latency: float
    predicted_bytes: int | None = None
    predicted_energy: float | None = None
    crosses: bool = False


SPLIT = Planned("final@hidden", "final", 0.97, 4_000_000, 0.08, 4096, 0.2, crosses=True)
LOCAL = Planned("early@local", "early", 0.9, 0, 0.03)


def value(metrics: Metrics, name: str, route: Planned) -> float | None:
    labels = {"service": "digits", "route": route.name, "exit": route.exit}
    return metrics.registry.get_sample_value(f"edge_route_{name}", labels)


def test_each_route_of_a_table_has_what_is_planned_of_it() -> None:
    metrics = Metrics("digits")
    metrics.table([SPLIT, LOCAL])
    assert value(metrics, "min_bandwidth_bits", SPLIT) == 4_000_000
    assert value(metrics, "predicted_latency_seconds", LOCAL) == 0.03
    assert value(metrics, "accuracy_ratio", SPLIT) == 0.97
    assert value(metrics, "predicted_sent_bytes", SPLIT) == 4096
    assert value(metrics, "predicted_sent_bytes", LOCAL) == 0
    assert value(metrics, "predicted_energy_joules", SPLIT) == 0.2
    assert value(metrics, "predicted_energy_joules", LOCAL) is None


def test_routes_of_an_earlier_table_are_gone() -> None:
    metrics = Metrics("digits")
    metrics.table([SPLIT, LOCAL])
    metrics.table([LOCAL])
    assert value(metrics, "accuracy_ratio", SPLIT) is None
    assert value(metrics, "accuracy_ratio", LOCAL) == 0.9


def test_bytes_of_a_hop_that_an_earlier_operator_did_not_tell_are_not_zero() -> None:
    metrics = Metrics("digits")
    metrics.table([Planned("final@hidden", "final", 0.97, 1, 0.08, crosses=True)])
    assert value(metrics, "predicted_sent_bytes", SPLIT) is None


def test_requests_have_the_namespace_of_the_runtime() -> None:
    metrics = Metrics("digits", ProcessMetrics("", namespace="shop"))
    metrics.request("final", "final@local", "ok", 0.01, met=True)
    labels = {"namespace": "shop", "service": "digits", "met": "true"}
    assert metrics.registry.get_sample_value("edge_slo_requests_total", labels) == 1


def test_residuals_are_exported_by_their_median() -> None:
    metrics = Metrics("digits")
    metrics.residuals([{"exit": "final", "count": 3, "ratios": [0.8, 1.1, 4.0]}])
    labels = {"service": "digits", "exit": "final"}
    assert metrics.registry.get_sample_value("edge_compute_residual_ratio", labels) == 1.1
    metrics.residuals([])
    assert metrics.registry.get_sample_value("edge_compute_residual_ratio", labels) is None


def test_reasons_of_fallbacks_have_a_count_before_the_first() -> None:
    metrics = Metrics("digits")
    for reason in ("late", "failed", "busy"):
        labels = {"service": "digits", "reason": reason}
        assert metrics.registry.get_sample_value("edge_deadline_fallbacks_total", labels) == 0
