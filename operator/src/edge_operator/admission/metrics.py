"""Prometheus metrics of the admission webhook, a process of its own."""

from prometheus_client import Counter, Gauge, Histogram

REVIEWS = Counter(
    "edge_operator_admission_reviews_total",
    "Reviews by outcome: accepted, warned, refused, or failed (no verdict: the failure policy decides).",
    ["outcome"],
)
REVIEW_SECONDS = Histogram(
    "edge_operator_admission_review_duration_seconds",
    "Duration of a review in seconds.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
READY = Gauge(
    "edge_operator_admission_ready", "1 if the process has read all objects that it decides on, else 0."
)
CERTIFICATE_EXPIRY = Gauge(
    "edge_operator_admission_certificate_expiry_timestamp_seconds",
    "Time at which the certificate that is served expires, in seconds since 1970.",
)
