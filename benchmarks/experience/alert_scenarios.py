"""For each alert, series with which it fires, and series with which it must not. Values are promtool's."""

from dataclasses import dataclass, field

HOUR = 60  # samples, one a minute
OWN = 'namespace="shop", service="cams"'
OWNER = f'{OWN}, tenant="red", pool="factory"'
SERVICE = {"namespace": "shop", "service": "cams"}
WHOLE = SERVICE | {"tenant": "red", "pool": "factory"}
AT = f'{OWN}, pod="edge-runtime-a-0", node="edge-a"'
NODE = {"namespace": "shop", "pod": "edge-runtime-a-0", "node": "edge-a"}

Series = dict[str, str]


def steady(value: float, count: int = 4 * HOUR) -> str:
    """A gauge that stays as it is."""
    return f"{value}+0x{count}"


def rising(by: float, count: int = 4 * HOUR) -> str:
    """A counter that rises with each sample."""
    return f"0+{by}x{count}"


def slo(missed: float, met: float, objective: float = 0.95) -> Series:
    """Requests a minute that miss and that meet the SLO of a service."""
    return {
        f'edge_slo_requests_total{{{OWN}, met="false"}}': rising(missed),
        f'edge_slo_requests_total{{{OWN}, met="true"}}': rising(met),
        f"edge_slo_objective{{{OWNER}}}": steady(objective),
    }


def condition(name: str, value: int) -> Series:
    """A condition of the service: 1 if it is True."""
    return {f'edge_service_condition{{{OWNER}, condition="{name}"}}': steady(value)}


def requests(ok: float, failed: float) -> Series:
    """Requests a minute with a response and without one."""
    count = "edge_request_duration_seconds_count"
    return {
        f'{count}{{{AT}, exit="final", route="final@local", outcome="ok"}}': rising(ok),
        f'{count}{{{AT}, exit="final", route="final@local", outcome="failed"}}': rising(failed),
    }


@dataclass(frozen=True)
class Scenario:
    """at: minutes. labels: of the alert, without its name and its severity."""

    alert: str
    fires: Series
    quiet: Series
    at: int
    severity: str = "warning"
    labels: dict[str, str] = field(default_factory=dict)


def _burning(tier: str, window: str, missed: float, at: int, severity: str) -> Scenario:
    """Just above the tier's factor; the same with too few requests is quiet."""
    name = "EdgeErrorBudgetBurnsFast" if severity == "critical" else "EdgeErrorBudgetBurnsSlowly"
    few = {series: "0+0.01x240" if "met=" in series else values for series, values in slo(1, 0).items()}
    labels = WHOLE | {"tier": tier, "window": window}
    return Scenario(name, slo(missed, 100 - missed), few, at, severity, labels)


STORE = 'namespace="edge-intelligence", pod="model-store-0"'
OPERATOR = 'namespace="edge-intelligence", pod="edge-operator-0"'
ADMISSION = 'namespace="edge-intelligence", pod="edge-admission-0"'
SCENARIOS = (
    _burning("1", "1h", 73, 10, "critical"),  # 14.4 times 5 %
    _burning("2", "6h", 31, 15, "critical"),
    _burning("3", "1d", 16, 40, "warning"),
    _burning("4", "3d", 6, 90, "warning"),
    Scenario(
        "EdgeErrorBudgetSpent",
        {f'edge_slo_error_budget_remaining_ratio{{{OWNER}, window="28d"}}': steady(0)},
        {f'edge_slo_error_budget_remaining_ratio{{{OWNER}, window="28d"}}': steady(0.01)},
        10,
        labels=WHOLE,
    ),
    Scenario(
        "EdgeServiceNotReady",
        condition("Ready", 0),
        condition("Ready", 0) | {f"edge_service_suspended{{{OWNER}}}": steady(1)},
        10,
        "critical",
        labels=WHOLE,
    ),
    Scenario("EdgeServiceDegraded", condition("Degraded", 1), condition("Degraded", 0), 20, labels=WHOLE),
    Scenario("EdgeRolloutReturned", condition("RolledOut", 0), condition("RolledOut", 1), 5, labels=WHOLE),
    Scenario(
        "EdgeSLOMetricsMissing",
        {
            f"edge_slo_objective{{{OWNER}}}": steady(0.95),
            f'edge_service_entries{{{OWNER}, state="ready"}}': steady(3),
        },
        slo(0, 1) | {f'edge_service_entries{{{OWNER}, state="ready"}}': steady(3)},
        20,
        labels=WHOLE,
    ),
    Scenario("EdgeRequestsFail", requests(90, 10), requests(96, 4), 10, "critical", labels=SERVICE),
    Scenario(
        "EdgeFallbacksFrequent",
        requests(90, 0) | {f'edge_deadline_fallbacks_total{{{AT}, reason="late"}}': rising(30)},
        requests(90, 0) | {f'edge_deadline_fallbacks_total{{{AT}, reason="late"}}': rising(10)},
        30,
        labels=SERVICE,
    ),
    Scenario(
        "EdgeRouteFlaps",
        {f"edge_route_switches_total{{{AT}}}": rising(4)},
        {f"edge_route_switches_total{{{AT}}}": rising(1)},
        40,
        labels=NODE | SERVICE,
    ),
    Scenario(
        "EdgeIdleAfterShort",
        {f"edge_first_request_load_seconds_count{{{AT}}}": rising(1)},
        {f"edge_first_request_load_seconds_count{{{AT}}}": rising(0.1)},
        70,
        labels=NODE | SERVICE,
    ),
    Scenario(
        "EdgeProfileOff",
        {f'edge_compute_residual_ratio{{{AT}, exit="final"}}': steady(1.8)},
        {f'edge_compute_residual_ratio{{{AT}, exit="final"}}': steady(1.2)},
        40,
        labels=NODE | SERVICE | {"exit": "final"},
    ),
    Scenario(
        "EdgeLinkDown",
        {f'edge_link_bandwidth_bits{{{AT}, peer="cloud"}}': steady(0)},
        {f'edge_link_bandwidth_bits{{{AT}, peer="cloud"}}': steady(1e6)},
        5,
        labels=NODE | {"peer": "cloud"},
    ),
    Scenario(
        "EdgeNodeSlow",
        {f"edge_stage_slowdown_ratio{{{AT}}}": steady(2.5)},
        {f"edge_stage_slowdown_ratio{{{AT}}}": steady(1.1)},
        20,
        labels=NODE | SERVICE,
    ),
    Scenario(
        "EdgeInferenceStuck",
        {f"edge_inference_running_seconds{{{AT}}}": "0+60x240"},
        {f"edge_inference_running_seconds{{{AT}}}": steady(0.2)},
        10,
        "critical",
        labels=NODE | SERVICE,
    ),
    Scenario(
        "EdgeCertificateExpires",
        {f"edge_certificate_expiry_timestamp_seconds{{{AT}}}": steady(13 * 86400)},
        {f"edge_certificate_expiry_timestamp_seconds{{{AT}}}": steady(30 * 86400)},
        70,
        labels=NODE | SERVICE,
    ),
    Scenario(
        "EdgePoolNotReady",
        {'edge_pool_condition{pool="factory", condition="Ready"}': steady(0)},
        {'edge_pool_condition{pool="factory", condition="Ready"}': steady(1)},
        15,
        labels={"pool": "factory"},
    ),
    Scenario(
        "EdgeTritonDown",
        {'edge_pool_triton_up{pool="factory", server="cloud"}': steady(0)},
        {'edge_pool_triton_up{pool="factory", server="cloud"}': steady(1)},
        5,
        labels={"pool": "factory", "server": "cloud"},
    ),
    Scenario(
        "EdgeServicesSteppedDown",
        {'edge_operator_tenant_services{tenant="red", state="stepped_down"}': steady(2)},
        {'edge_operator_tenant_services{tenant="red", state="stepped_down"}': steady(0)},
        40,
        labels={"tenant": "red"},
    ),
    Scenario(
        "EdgeServicesRefused",
        {'edge_operator_tenant_services{tenant="red", state="refused"}': steady(1)},
        {'edge_operator_tenant_services{tenant="red", state="refused"}': steady(0)},
        10,
        "critical",
        labels={"tenant": "red"},
    ),
    Scenario("EdgeOperatorAbsent", {}, {f"edge_operator_leading{{{OPERATOR}}}": steady(1)}, 10, "critical"),
    Scenario(
        "EdgeOperatorNotLeading",
        {f"edge_operator_leading{{{OPERATOR}}}": steady(0)},
        {
            f"edge_operator_leading{{{OPERATOR}}}": steady(0),
            'edge_operator_leading{namespace="edge-intelligence", pod="edge-operator-1"}': steady(1),
        },
        5,
        "critical",
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeOperatorNotSynced",
        {f"edge_operator_mirror_synced{{{OPERATOR}}}": steady(0)},
        {f"edge_operator_mirror_synced{{{OPERATOR}}}": steady(1)},
        10,
        labels={"namespace": "edge-intelligence", "pod": "edge-operator-0"},
    ),
    Scenario(
        "EdgeOperatorStuck",
        {f"edge_operator_stuck_steps{{{OPERATOR}}}": steady(1)},
        {f"edge_operator_stuck_steps{{{OPERATOR}}}": steady(0)},
        5,
        labels={"namespace": "edge-intelligence", "pod": "edge-operator-0"},
    ),
    Scenario(
        "EdgeOperatorChangesLeader",
        {f"edge_operator_lease_transitions{{{OPERATOR}}}": rising(1)},
        {f"edge_operator_lease_transitions{{{OPERATOR}}}": steady(7)},
        20,
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeAdmissionAbsent",
        {
            f"edge_operator_admission_installed{{{OPERATOR}}}": steady(1),
            f"edge_operator_admission_ready{{{ADMISSION}}}": steady(0),
        },
        {
            f"edge_operator_admission_installed{{{OPERATOR}}}": steady(1),
            f"edge_operator_admission_ready{{{ADMISSION}}}": steady(1),
        },
        10,
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeAdmissionFails",
        {f'edge_operator_admission_reviews_total{{{ADMISSION}, outcome="failed"}}': rising(1)},
        {f'edge_operator_admission_reviews_total{{{ADMISSION}, outcome="failed"}}': steady(7)},
        30,
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeOperatorFails",
        {f'edge_operator_reconciles_total{{{OPERATOR}, kind="service", outcome="failed"}}': rising(1)},
        {f'edge_operator_reconciles_total{{{OPERATOR}, kind="service", outcome="failed"}}': steady(7)},
        20,
        labels={"namespace": "edge-intelligence", "kind": "service"},
    ),
    Scenario(
        "EdgeOperatorBlocked",
        {f'edge_operator_blocked_total{{{OPERATOR}, step="Planned", reason="Infeasible"}}': rising(1)},
        {f'edge_operator_blocked_total{{{OPERATOR}, step="Planned", reason="Infeasible"}}': steady(3)},
        40,
        labels={"step": "Planned", "reason": "Infeasible"},
    ),
    Scenario(
        "EdgeOperatorSlow",
        {
            f'edge_operator_reconcile_duration_seconds_bucket{{{OPERATOR}, kind="pool", le="{le}"}}': values
            for le, values in (("5", steady(0)), ("10", rising(10)), ("+Inf", rising(10)))
        },
        {
            f'edge_operator_reconcile_duration_seconds_bucket{{{OPERATOR}, kind="pool", le="{le}"}}': values
            for le, values in (("0.1", rising(10)), ("10", rising(10)), ("+Inf", rising(10)))
        },
        30,
        labels={"kind": "pool"},
    ),
    Scenario(
        "EdgeCertificatesNotIssued",
        {f"edge_operator_certificate_failures{{{OPERATOR}}}": steady(1)},
        {f"edge_operator_certificate_failures{{{OPERATOR}}}": steady(0)},
        20,
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeUnitsNotInstalled",
        {f"edge_operator_unit_failures{{{OPERATOR}}}": steady(2)},
        {f"edge_operator_unit_failures{{{OPERATOR}}}": steady(0)},
        20,
        labels={"namespace": "edge-intelligence"},
    ),
    Scenario(
        "EdgeDeletionWaits",
        {f'edge_oldest_deletion_seconds{{{OPERATOR}, kind="DevicePool"}}': "0+60x240"},
        {f'edge_oldest_deletion_seconds{{{OPERATOR}, kind="DevicePool"}}': "0+60x15 0+0x225"},
        20,
        labels={"kind": "DevicePool"},
    ),
    Scenario("EdgeStoreAbsent", {}, {f"edge_store_disk_size_bytes{{{STORE}}}": steady(1e10)}, 15),
    Scenario(
        "EdgeStoreFails",
        {f'edge_store_failures_total{{{STORE}, cause="disk"}}': rising(1)},
        {f'edge_store_failures_total{{{STORE}, cause="disk"}}': steady(0)},
        20,
        labels={"namespace": "edge-intelligence", "cause": "disk"},
    ),
    Scenario(
        "EdgeStoreDiskFills",
        {
            f"edge_store_disk_size_bytes{{{STORE}}}": steady(1e10),
            f"edge_store_disk_free_bytes{{{STORE}}}": steady(9e8),
        },
        {
            f"edge_store_disk_size_bytes{{{STORE}}}": steady(1e10),
            f"edge_store_disk_free_bytes{{{STORE}}}": steady(2e9),
        },
        15,
        labels={"namespace": "edge-intelligence", "pod": "model-store-0"},
    ),
)
