"""Prometheus metrics of the operator."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter(
    "edge_operator_reconciles_total",
    "Reconciles by kind and outcome: done, blocked (a condition has the reason) or failed (an exception).",
    ["kind", "outcome"],
)
RECONCILE_SECONDS = Histogram(
    "edge_operator_reconcile_duration_seconds", "Duration of a reconcile in seconds.", ["kind"]
)
QUEUE_SECONDS = Histogram(
    "edge_operator_queue_duration_seconds",
    "Seconds from a change, or from when it is due, until a loop takes it, by kind of loop.",
    ["kind"],
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
BLOCKED = Counter(
    "edge_operator_blocked_total", "Failed steps of reconciles by condition and reason.", ["step", "reason"]
)
TAILS_LOADED = Counter("edge_operator_tails_loaded_total", "Tails loaded into Triton servers.")
SERVICES = Gauge("edge_operator_services", "InferenceServices that the operator reconciles.")
UNIT_FAILURES = Gauge(
    "edge_operator_unit_failures",
    "Nodes on which the unit that serves after a reboot could not be installed or removed",
)
CERTIFICATE_FAILURES = Gauge(
    "edge_operator_certificate_failures",
    "Secrets with certificates that could not be issued or renewed at the last attempt.",
)
TENANT_RESOURCES = Gauge(
    "edge_operator_tenant_resources",
    "Amounts of tenants by kind of resource, over all pools, in cores, bytes, bit/s or seconds per second: "
    "nominal, used, borrowed or lent.",
    ["tenant", "kind", "amount"],
)
TENANT_SERVICES = Gauge(
    "edge_operator_tenant_services",
    "Services of tenants that are stepped_down or refused at an entry node.",
    ["tenant", "state"],
)
TENANT_WEIGHT = Gauge(
    "edge_operator_tenant_weight", "Weight of tenants: spec.fairSharing.weight.", ["tenant"]
)
TENANT_SHARE = Gauge(
    "edge_operator_tenant_share",
    "Largest part of any one resource that a tenant uses or borrows.",
    ["tenant", "amount"],
)
TENANT_WEIGHTED_SHARE = Gauge(
    "edge_operator_tenant_weighted_share",
    "Largest part of any one resource that a tenant borrows, over its weight.",
    ["tenant"],
)
LEADING = Gauge("edge_operator_leading", "1 for the replica that holds the Lease and writes.")
FENCED = Counter(
    "edge_operator_fenced_writes_total",
    "Writes that did not begin because the Lease does not outlast their time-out.",
)
LATE_TAILS = Counter(
    "edge_operator_late_tails_total", "Tails that a replica loaded into Triton after another one led."
)
ADMISSION_INSTALLED = Gauge(
    "edge_operator_admission_installed", "1 if the chart installs the admission webhook, else 0."
)
