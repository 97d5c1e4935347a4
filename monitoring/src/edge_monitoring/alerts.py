"""The alerts. Each names its severity, its runbook in docs/runbooks.md and the dashboard that shows it."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from edge_monitoring.burning import BURN_ALERTS
from edge_monitoring.rules import OBJECTIVE, OWNER, SERVICE

RUNBOOKS: Final = "docs/runbooks.md"
"""What runbook_url begins with. The chart replaces it by monitoring.prometheusRule.runbookUrl."""
DASHBOARDS: Final = "/d/"
"""What dashboard_url begins with. The chart puts monitoring.prometheusRule.grafanaUrl before it."""
Severity = Literal["critical", "warning"]
"""critical: act now, since requests are lost or late. warning: act within days."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Attributes:
        wait: How long the expression must hold, as a duration of Prometheus.
        dashboard: The uid of the dashboard that shows it.
        variables: Labels of the alert that select on the dashboard, by variable.
    """

    name: str
    severity: Severity
    wait: str
    expression: str
    summary: str
    description: str
    dashboard: str = "edge-fleet"
    variables: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the rule as Prometheus reads it."""
        selected = "&".join(f"var-{name}={{{{ $labels.{name} }}}}" for name in self.variables)
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.wait,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}#{self.name.lower()}",
                "dashboard_url": f"{DASHBOARDS}{self.dashboard}/{self.dashboard}"
                + (f"?{selected}" if selected else ""),
            },
        }


_ON_SERVICE: Final = ("namespace", "service")
_NAMED: Final = "{{ $labels.namespace }}/{{ $labels.service }}"


_LOST: Final = '{outcome=~"failed|refused"}'


def _of_service(
    name: str, severity: Severity, wait: str, expression: str, *, summary: str, description: str
) -> Alert:
    return Alert(name, severity, wait, expression, summary, description, "edge-service", _ON_SERVICE)


def _requests(selector: str = "", window: str = "15m") -> str:
    return f"sum by ({SERVICE}) (rate(edge_request_duration_seconds_count{selector}[{window}]))"


def _condition(name: str) -> str:
    return f'max by ({OWNER}) (edge_service_condition{{condition="{name}"}})'


_SERVICES: Final = (
    _of_service(
        "EdgeErrorBudgetSpent",
        "warning",
        "5m",
        f'min by ({OWNER}) (edge_slo_error_budget_remaining_ratio{{window="28d"}}) <= 0',
        summary=f"The error budget of {_NAMED} is spent.",
        description=f"More requests to {_NAMED} missed the SLO in 28 days than its objective allows.",
    ),
    _of_service(
        "EdgeServiceNotReady",
        "critical",
        "5m",
        f"{_condition('Ready')} == 0 unless on ({SERVICE}) edge_service_suspended == 1",
        summary=f"{_NAMED} is not Ready.",
        description="Fewer entry nodes than spec.minReadyEntries answer requests. The reason is in "
        "`kubectl get eis -n {{ $labels.namespace }} {{ $labels.service }}`.",
    ),
    _of_service(
        "EdgeServiceDegraded",
        "warning",
        "15m",
        f"{_condition('Degraded')} == 1",
        summary=f"{_NAMED} is Degraded.",
        description="Entry nodes do not answer, or do so by an earlier plan. The condition names them.",
    ),
    _of_service(
        "EdgeRolloutReturned",
        "warning",
        "1m",
        f"{_condition('RolledOut')} == 0 or {_condition('RuntimesUpdated')} == 0",
        summary=f"{_NAMED} serves a former model, or by a former version of the runtimes.",
        description="A new revision of its model failed or was aborted, or requests fared worse with a new "
        "version of the runtimes. RolledOut or RuntimesUpdated names the cause.",
    ),
    _of_service(
        "EdgeSLOMetricsMissing",
        "warning",
        "15m",
        f"({OBJECTIVE} unless on ({SERVICE}) edge_slo_requests_total) and on ({SERVICE}) "
        'max by (namespace, service) (edge_service_entries{state="ready"}) > 0',
        summary=f"Prometheus has no requests of {_NAMED}.",
        description="Entry nodes serve it, but Prometheus does not scrape them: its SLO is not watched.",
    ),
    _of_service(
        "EdgeRequestsFail",
        "critical",
        "5m",
        f"{_requests(_LOST, '5m')} / {_requests(window='5m')} > 0.05",
        summary=f"{_NAMED} fails {{{{ $value | humanizePercentage }}}} of its requests.",
        description="Requests end with an error or are refused. Late responses are not counted here.",
    ),
    _of_service(
        "EdgeFallbacksFrequent",
        "warning",
        "15m",
        f"sum by ({SERVICE}) (rate(edge_deadline_fallbacks_total[15m])) / {_requests()} > 0.2",
        summary=f"{_NAMED} falls back to local routes for {{{{ $value | humanizePercentage }}}} of requests.",
        description="Hops fail or are late. Responses come from the local ladder, in time but less accurate.",
    ),
    _of_service(
        "EdgeRouteFlaps",
        "warning",
        "15m",
        f"sum by ({SERVICE}, pod, node) (increase(edge_route_switches_total[15m])) > 30",
        summary=f"{_NAMED} changed its route {{{{ $value | humanize }}}} times in 15 minutes.",
        description="The measured bandwidth of {{ $labels.node }} varies around the threshold of a route.",
    ),
    _of_service(
        "EdgeIdleAfterShort",
        "warning",
        "30m",
        f"sum by ({SERVICE}, pod, node) (increase(edge_first_request_load_seconds_count[1h])) > 12",
        summary=f"{_NAMED} loaded its model {{{{ $value | humanize }}}} times in an hour.",
        description="Requests to {{ $labels.node }} come about as rarely as spec.scaling.idleAfter, so many "
        "of them wait until the model is loaded.",
    ),
    _of_service(
        "EdgeProfileOff",
        "warning",
        "30m",
        "edge_compute_residual_ratio > 1.5 or edge_compute_residual_ratio < 0.5",
        summary=f"{_NAMED} takes {{{{ $value | humanize }}}} times the profiled time.",
        description="The median compute time of exit {{ $labels.exit }} at {{ $labels.node }} is far from "
        "the profile of its device class, by which routes are planned.",
    ),
)

_NODES: Final = (
    Alert(
        "EdgeLinkDown",
        "warning",
        "2m",
        "min by (namespace, pod, node, peer) (edge_link_bandwidth_bits) == 0",
        "The link from {{ $labels.node }} to {{ $labels.peer }} is down.",
        "The peer does not respond. Services of {{ $labels.namespace }} there use local routes.",
        "edge-pool",
    ),
    Alert(
        "EdgeNodeSlow",
        "warning",
        "15m",
        "edge_stage_slowdown_ratio > 2",
        "{{ $labels.node }} runs slices {{ $value | humanize }} times slower than at their warm-up.",
        "The processor of {{ $labels.node }} is shared or throttled: plans for it are too optimistic.",
        "edge-pool",
    ),
    Alert(
        "EdgeInferenceStuck",
        "critical",
        "1m",
        "edge_inference_running_seconds > 60",
        "An inference at {{ $labels.node }} has run for {{ $value | humanizeDuration }}.",
        "The inference thread of {{ $labels.pod }} runs nothing else: all services there wait.",
        "edge-pool",
    ),
    Alert(
        "EdgeCertificateExpires",
        "warning",
        "1h",
        "edge_certificate_expiry_timestamp_seconds - time() < 14 * 86400 or "
        "edge_operator_admission_certificate_expiry_timestamp_seconds - time() < 14 * 86400",
        "The certificate of {{ $labels.pod }} expires in {{ $value | humanizeDuration }}.",
        "Certificates of the operator are renewed 30 days before they expire: this one was not.",
        "edge-operator",
    ),
    Alert(
        "EdgePoolNotReady",
        "warning",
        "10m",
        'max by (pool) (edge_pool_condition{condition="Ready"}) == 0',
        "DevicePool {{ $labels.pool }} is not Ready.",
        "A selector selects no node, or nodes belong to older pools. The condition Ready says which.",
        "edge-pool",
        ("pool",),
    ),
    Alert(
        "EdgeTritonDown",
        "warning",
        "2m",
        "min by (pool, server) (edge_pool_triton_up) == 0",
        "Triton server {{ $labels.server }} of pool {{ $labels.pool }} does not respond.",
        "Services of the pool use other servers or local routes.",
        "edge-pool",
        ("pool",),
    ),
)

_TENANTS: Final = (
    Alert(
        "EdgeServicesSteppedDown",
        "warning",
        "30m",
        'max by (tenant) (edge_operator_tenant_services{state="stepped_down"}) > 0',
        "{{ $value }} services of tenant {{ $labels.tenant }} are stepped down.",
        "At an entry node they have less than they would have alone, because of others' load.",
        "edge-tenants",
        ("tenant",),
    ),
    Alert(
        "EdgeServicesRefused",
        "critical",
        "5m",
        'max by (tenant) (edge_operator_tenant_services{state="refused"}) > 0',
        "{{ $value }} services of tenant {{ $labels.tenant }} are refused.",
        "At an entry node the pool has no room for them, so that they have no routes there.",
        "edge-tenants",
        ("tenant",),
    ),
)

_CONTROL: Final = (
    Alert(
        "EdgeOperatorAbsent",
        "critical",
        "5m",
        "absent(edge_operator_leading)",
        "Prometheus has no metrics of the operator.",
        "It does not run, or is not scraped. Entry nodes keep serving, but nothing is planned.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorNotLeading",
        "critical",
        "2m",
        "max by (namespace) (edge_operator_leading) == 0",
        "No replica of the operator in {{ $labels.namespace }} leads.",
        "Replicas run, but none holds the Lease edge-operator: nothing is planned.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorNotSynced",
        "warning",
        "5m",
        "min by (namespace, pod) (edge_operator_mirror_synced) == 0",
        "{{ $labels.pod }} does not have all objects in memory.",
        "The replica cannot lead. If it is the only one, nothing is planned.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorStuck",
        "warning",
        "0m",
        "max by (namespace, pod) (max_over_time(edge_operator_stuck_steps[10m])) > 0",
        "{{ $value }} steps of {{ $labels.pod }} take longer than their limit.",
        "A thread of the operator waits for what does not come. The kubelet restarts the container.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorChangesLeader",
        "warning",
        "0m",
        "max by (namespace) (max_over_time(edge_operator_lease_transitions[1h])) - "
        "min by (namespace) (min_over_time(edge_operator_lease_transitions[1h])) > 5",
        "The leader of the operator in {{ $labels.namespace }} changed {{ $value }} times in an hour.",
        "Leaders end, or cannot renew the Lease in time. Plans are late after each change.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorFails",
        "warning",
        "5m",
        'sum by (namespace, kind) (increase(edge_operator_reconciles_total{outcome="failed"}[15m])) > 3',
        "{{ $value | humanize }} reconciles of kind {{ $labels.kind }} failed in 15 minutes.",
        "They ended in an error that the operator did not expect; its log has the traces.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorBlocked",
        "warning",
        "30m",
        "sum by (step, reason) (rate(edge_operator_blocked_total[15m])) > 0",
        "Services are blocked at {{ $labels.step }} by {{ $labels.reason }}.",
        "A step of their plan fails again and again. docs/reasons.md explains {{ $labels.reason }}.",
        "edge-operator",
    ),
    Alert(
        "EdgeOperatorSlow",
        "warning",
        "15m",
        "histogram_quantile(0.99, "
        "sum by (kind, le) (rate(edge_operator_reconcile_duration_seconds_bucket[15m]))) > 5",
        "Reconciles of kind {{ $labels.kind }} take {{ $value | humanizeDuration }}.",
        "One in a hundred takes that long, so that changes reach entry nodes late.",
        "edge-operator",
    ),
    Alert(
        "EdgeCertificatesNotIssued",
        "warning",
        "15m",
        "max by (namespace) (edge_operator_certificate_failures) > 0",
        "{{ $value }} certificates could not be issued or renewed.",
        "The condition CertificatesIssued of the DevicePools says which, and why.",
        "edge-operator",
    ),
    Alert(
        "EdgeUnitsNotInstalled",
        "warning",
        "15m",
        "max by (namespace) (edge_operator_unit_failures) > 0",
        "The unit that serves after a reboot is not installed on, or not removed from, {{ $value }} nodes.",
        "The condition SurvivesReboot of the DevicePools says why. A node without it serves nothing after a "
        "reboot without the control plane.",
        "edge-operator",
    ),
    Alert(
        "EdgeDeletionWaits",
        "warning",
        "1m",
        "max by (kind) (edge_oldest_deletion_seconds) > 900",
        "The deletion of a {{ $labels.kind }} has waited for {{ $value | humanizeDuration }}.",
        "Services use a DevicePool or a Tenant, or an object has a finalizer of another program.",
        "edge-operator",
    ),
    Alert(
        "EdgeAdmissionAbsent",
        "warning",
        "5m",
        "max by (namespace) (edge_operator_admission_installed) == 1 unless on (namespace) "
        "max by (namespace) (edge_operator_admission_ready) == 1",
        "No pod of the admission webhook in {{ $labels.namespace }} is ready.",
        "With failurePolicy Ignore, mistakes are reported in conditions instead of refused.",
        "edge-operator",
    ),
    Alert(
        "EdgeAdmissionFails",
        "warning",
        "5m",
        'sum by (namespace) (increase(edge_operator_admission_reviews_total{outcome="failed"}[15m])) > 3',
        "{{ $value | humanize }} reviews of objects had no verdict in 15 minutes.",
        "The failure policy decided on them. The log of the webhook has the causes.",
        "edge-operator",
    ),
    Alert(
        "EdgeStoreAbsent",
        "warning",
        "10m",
        "absent(edge_store_disk_size_bytes)",
        "Prometheus has no metrics of the model store.",
        "It does not run, or is not scraped. Nodes serve what they have; new models and nodes wait.",
        "edge-operator",
    ),
    Alert(
        "EdgeStoreFails",
        "warning",
        "5m",
        "sum by (namespace, cause) (increase(edge_store_failures_total[15m])) > 0",
        "Requests to the model store fail because of: {{ $labels.cause }}.",
        "New slices cannot be cut or fetched. Nodes serve what they have.",
        "edge-operator",
    ),
    Alert(
        "EdgeStoreDiskFills",
        "warning",
        "10m",
        "edge_store_disk_free_bytes / edge_store_disk_size_bytes < 0.1",
        "The disk of the model store has {{ $value | humanizePercentage }} left.",
        "Uploads and new slices fail once it is full.",
        "edge-operator",
    ),
)


def _burning() -> tuple[Alert, ...]:
    return tuple(
        Alert(
            burn.name,
            burn.severity,
            burn.wait,
            burn.expression,
            f"{_NAMED} burns its error budget {burn.factor:g} times too fast.",
            f"{{{{ $value | humanizePercentage }}}} of the requests of {burn.short} missed the SLO, and so "
            f"many did over {burn.long}, too. {burn.consequence}",
            "edge-service",
            _ON_SERVICE,
            {"tier": burn.tier, "window": burn.long},
        )
        for burn in BURN_ALERTS
    )


ALERTS: Final = (*_burning(), *_SERVICES, *_NODES, *_TENANTS, *_CONTROL)


def alert_groups() -> list[dict[str, Any]]:
    """Returns the groups of alerts."""
    groups = (
        ("edge-slo-alerts", _burning()),
        ("edge-service-alerts", _SERVICES),
        ("edge-node-alerts", _NODES),
        ("edge-tenant-alerts", _TENANTS),
        ("edge-control-alerts", _CONTROL),
    )
    return [{"name": name, "rules": [alert.document() for alert in alerts]} for name, alerts in groups]
