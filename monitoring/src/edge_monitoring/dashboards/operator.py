"""The operator and the model store."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.panels import BAD_IF_ZERO, GOOD_IF_ZERO, RATE, Query, assembled, board, graph, number


def operator() -> Dashboard:
    """Returns the dashboard of the control plane."""
    made = board(
        "edge-operator",
        "Edge intelligence / Operator",
        "Reconciles of the operator, what blocks services, certificates, and the model store.",
    )
    leader = "and on (instance) (edge_operator_leading == 1)"
    conditions = "max by (namespace, service, condition) (edge_service_condition)"
    blocked = (
        "max by (namespace, service) "
        '(edge_service_condition{condition=~"ModelReady|Profiled|Planned|Placed"} == 0)'
    )
    seconds = "edge_operator_reconcile_duration_seconds_bucket"
    queued = "edge_operator_queue_duration_seconds_bucket"
    return assembled(
        made,
        {
            "Operator": [
                number(
                    "Leading replicas",
                    "Replicas that hold the Lease and write: 1 in each installation.",
                    "short",
                    "sum(edge_operator_leading)",
                    steps=BAD_IF_ZERO,
                ),
                number(
                    "Services",
                    "InferenceServices that the operator reconciles.",
                    "short",
                    "max(edge_operator_services)",
                    span=3,
                ),
                number(
                    "Blocked services",
                    "Services whose condition Planned, Placed, Profiled or ModelReady is False.",
                    "short",
                    f"count({blocked}) or vector(0)",
                    steps=GOOD_IF_ZERO,
                ),
                number(
                    "Failed certificates",
                    "Certificates that could not be issued or renewed.",
                    "short",
                    "max(edge_operator_certificate_failures)",
                    steps=GOOD_IF_ZERO,
                    span=3,
                ),
                number(
                    "Failed units",
                    "Nodes on which the unit that serves after a reboot could not be installed or removed.",
                    "short",
                    "max(edge_operator_unit_failures)",
                    steps=GOOD_IF_ZERO,
                    span=3,
                ),
                number(
                    "Tails loaded",
                    "Tails that the operator loaded into Triton servers since it started.",
                    "short",
                    "sum(edge_operator_tails_loaded_total)",
                    span=3,
                ),
                number(
                    "Memory",
                    "Resident memory of the leading replica.",
                    "bytes",
                    f"max(process_resident_memory_bytes {leader})",
                ),
                number(
                    "Ready replicas",
                    "Replicas that have all objects in memory, so that they lead or can lead.",
                    "short",
                    "sum(edge_operator_mirror_synced)",
                    steps=BAD_IF_ZERO,
                    span=6,
                ),
                number(
                    "Term",
                    "Changes of the holder of the Lease since it was created.",
                    "short",
                    "max(edge_operator_lease_transitions)",
                    span=6,
                ),
                number(
                    "Stuck steps",
                    "Steps that take longer than their limit, for which liveness fails.",
                    "short",
                    "sum(edge_operator_stuck_steps)",
                    steps=GOOD_IF_ZERO,
                    span=6,
                ),
                number(
                    "Late tails",
                    "Tails that a replica loaded into Triton after another one led, and that were unloaded.",
                    "short",
                    "sum(edge_operator_late_tails_total)",
                    span=6,
                ),
                graph(
                    "Leader",
                    "1 for the replica that leads.",
                    "short",
                    Query("max by (pod) (edge_operator_leading)", "{{pod}}"),
                    maximum=1,
                ),
                graph(
                    "Oldest step",
                    "Age of the oldest step that runs, by kind.",
                    "s",
                    Query("max by (kind) (edge_operator_oldest_step_seconds)", "{{kind}}"),
                ),
                graph(
                    "Fenced writes",
                    "Writes that did not begin because the Lease does not outlast their time-out.",
                    "ops",
                    Query(f"sum by (pod) (rate(edge_operator_fenced_writes_total[{RATE}]))", "{{pod}}"),
                ),
                graph(
                    "Reconciles",
                    "Plans of pools and services, and reconciles of namespaces, by outcome.",
                    "ops",
                    Query(
                        f"sum by (kind, outcome) (rate(edge_operator_reconciles_total[{RATE}]))",
                        "{{kind}}, {{outcome}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Duration of reconciles",
                    "99th percentile by kind, and of the time from a change until a loop takes it.",
                    "s",
                    Query(
                        f"histogram_quantile(0.99, sum by (kind, le) (rate({seconds}[{RATE}])))", "{{kind}}"
                    ),
                    Query(
                        f"histogram_quantile(0.99, sum by (kind, le) (rate({queued}[{RATE}])))",
                        "wait for {{kind}}",
                    ),
                ),
                graph(
                    "Blocked steps",
                    "Failed steps by condition and reason. docs/reasons.md explains each.",
                    "ops",
                    Query(
                        f"sum by (step, reason) (rate(edge_operator_blocked_total[{RATE}]))",
                        "{{step}}: {{reason}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Processor time",
                    "Processor time of the leading replica.",
                    "short",
                    Query(
                        f"max(rate(process_cpu_seconds_total[{RATE}]) {leader})",
                        "cores",
                    ),
                ),
                graph(
                    "Oldest deletion",
                    "Age of the oldest deletion that waits, by kind: 0 without one.",
                    "s",
                    Query("max by (kind) (edge_oldest_deletion_seconds)", "{{kind}}"),
                ),
                graph(
                    "Services by condition",
                    "Services for which a condition is True.",
                    "short",
                    Query(
                        f"sum by (condition) ({conditions})",
                        "{{condition}}",
                    ),
                ),
            ],
            "Admission": [
                graph(
                    "Reviews",
                    "Reviews of objects by outcome. Failed: without a verdict, the failure policy decided.",
                    "ops",
                    Query(
                        f"sum by (outcome) (rate(edge_operator_admission_reviews_total[{RATE}]))",
                        "{{outcome}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Duration of reviews",
                    "99th percentile.",
                    "s",
                    Query(
                        "histogram_quantile(0.99, sum by (le) "
                        f"(rate(edge_operator_admission_review_duration_seconds_bucket[{RATE}])))",
                        "99th percentile",
                    ),
                ),
                graph(
                    "Ready pods",
                    "Pods of the webhook that have read all objects.",
                    "short",
                    Query("sum(edge_operator_admission_ready)", "ready"),
                ),
            ],
            "Model store": [
                graph(
                    "Requests",
                    "Requests by method and resource, without health checks, probes and scrapes.",
                    "reqps",
                    Query(
                        f"sum by (method, resource) (rate(edge_store_requests_total[{RATE}]))",
                        "{{method}} {{resource}}",
                    ),
                    stacked=True,
                ),
                graph(
                    "Failures",
                    "Requests that failed because of the disk or a defect of the store.",
                    "reqps",
                    Query(f"sum by (cause) (rate(edge_store_failures_total[{RATE}]))", "{{cause}}"),
                    stacked=True,
                ),
                graph(
                    "Disk",
                    "Bytes of the file system of the store's folder.",
                    "bytes",
                    Query("sum(edge_store_disk_size_bytes) - sum(edge_store_disk_free_bytes)", "used"),
                    Query("sum(edge_store_disk_size_bytes)", "size"),
                    limits="size",
                ),
            ],
        },
    )
