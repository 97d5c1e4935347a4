"""One service: its SLO, its routes, what they cost, and what goes wrong."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.panels import (
    BAD_IF_ZERO,
    GOOD_IF_HIGH,
    GOOD_IF_SLOW,
    PLAIN,
    RATE,
    Panel,
    Query,
    assembled,
    board,
    choice,
    graph,
    number,
)
from edge_monitoring.rules import BUDGET_LEFT, BURN_RATE, ERROR_BUDGET, ERROR_RATIO

_OWN: Final = 'namespace="$namespace", service="$service"'
_REQUESTS: Final = "edge_request_duration_seconds"
_ANSWERED: Final = 'outcome=~"ok|fallback"'
_ROUTE: Final = "pod, service, route, exit"


def _quantile(share: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({_REQUESTS}_bucket{{{_OWN}}}[{RATE}])))"


def _rate(metric: str, by: str, more: str = "") -> str:
    selected = f"{_OWN}, {more}" if more else _OWN
    return f"sum by ({by}) (rate({metric}{{{selected}}}[{RATE}]))"


def _by_route(metric: str) -> str:
    """Returns a value of the table for each answered request, as a rate by series."""
    rate = f"rate({_REQUESTS}_count{{{_OWN}, {_ANSWERED}}}[{RATE}])"
    return f"{rate} * on ({_ROUTE}) group_left () {metric}{{{_OWN}}}"


def service() -> Dashboard:
    """Returns the dashboard of one service."""
    made = board(
        "edge-service",
        "Edge intelligence / Service",
        "One service: SLO, latency, accuracy, routes against bandwidth, and the costs of inference.",
        [
            choice("namespace", "Namespace", "label_values(edge_slo_objective, namespace)"),
            choice("service", "Service", 'label_values(edge_slo_objective{namespace="$namespace"}, service)'),
        ],
    )
    return assembled(
        made,
        {
            "Objective": _objective(),
            "Routes": _routes(),
            "Roll-out": _rollout(),
            "Quality of experience": _experience(),
            "Faults": _faults(),
        },
    )


def _objective() -> list[Panel]:
    return [
        number(
            "Attainment, 5 min",
            "Share of requests in the last 5 minutes that were answered within spec.slo.latency.",
            "percentunit",
            f'max(edge_slo_attainment_ratio{{{_OWN}, window="5m"}})',
        ),
        number(
            "Error budget left",
            "Share of the error budget of 28 days that is left.",
            "percentunit",
            f"max({BUDGET_LEFT}{{{_OWN}}})",
            steps=GOOD_IF_HIGH,
        ),
        number(
            "Burn rate, 1 h",
            "Error ratio over error budget: 1 uses exactly the budget in 28 days.",
            "short",
            f'max({BURN_RATE}{{{_OWN}, window="1h"}})',
            steps=GOOD_IF_SLOW,
        ),
        number(
            "Entry nodes that answer",
            "Entry nodes that answer requests, by whichever plan.",
            "short",
            f'max(edge_service_entries{{{_OWN}, state="ready"}})',
            steps=BAD_IF_ZERO,
        ),
        number(
            "Entry nodes", "All entry nodes.", "short", f'max(edge_service_entries{{{_OWN}, state="total"}})'
        ),
        number(
            "Requests",
            "Requests at all entry nodes.",
            "reqps",
            f"sum(rate(edge_slo_requests_total{{{_OWN}}}[{RATE}]))",
        ),
        graph(
            "Latency against the SLO",
            "Quantiles of the time from a request's arrival to its response, over all entry nodes.",
            "s",
            Query(_quantile("0.5"), "p50"),
            Query(_quantile("0.95"), "p95"),
            Query(_quantile("0.99"), "p99"),
            Query(f"max(edge_slo_latency_seconds{{{_OWN}}})", "SLO"),
            limits="SLO",
        ),
        graph(
            "Requests that miss the SLO",
            "Share of the requests of a window, and the share that the objective allows.",
            "percentunit",
            Query(f'{ERROR_RATIO}{{{_OWN}, window=~"5m|1h|6h"}}', "{{window}}"),
            Query(f"max({ERROR_BUDGET}{{{_OWN}}})", "allowed"),
            limits="allowed",
            maximum=1,
        ),
        graph(
            "Burn rate by window",
            "An alert fires at 14.4 over 5m and 1h, 6 over 30m and 6h, 3 over 2h and 1d, 1 over 6h and 3d.",
            "short",
            Query(f"{BURN_RATE}{{{_OWN}}}", "{{window}}"),
        ),
    ]


def _rollout() -> list[Panel]:
    share = 'max by (phase) (edge_rollout_weight_ratio{namespace="$namespace", service="$service"})'
    return [
        graph(
            "Share of the candidate",
            "Share of the requests that a new revision of the model answers, by the phase of its roll-out.",
            "percentunit",
            Query(share, "{{phase}}"),
            maximum=1,
        ),
        graph(
            "Comparisons with the candidate",
            "Requests that the candidate computed, too, by whether its outputs differ by 1 % at most.",
            "reqps",
            Query(_rate("edge_shadow_requests_total", "result"), "{{result}}"),
            stacked=True,
        ),
    ]


def _routes() -> list[Panel]:
    accuracy = "edge_route_accuracy_ratio"
    answered = f"rate({_REQUESTS}_count{{{_OWN}, {_ANSWERED}}}[{RATE}])"
    known = f"{accuracy}{{{_OWN}}}"
    active = f"edge_active_route{{{_OWN}}} == 1"
    predicted = f"edge_route_predicted_latency_seconds{{{_OWN}}} and on ({_ROUTE}) ({active})"
    return [
        graph(
            "Accuracy of responses",
            "Mean accuracy of the routes by which requests were answered, by entry node.",
            "percentunit",
            Query(
                f"sum by (node) ({_by_route(accuracy)}) / "
                f"sum by (node) ({answered} and on ({_ROUTE}) {known})",
                "{{node}}",
            ),
            maximum=1,
        ),
        graph(
            "Requests by exit",
            "Responses by the exit that computed them.",
            "reqps",
            Query(_rate(f"{_REQUESTS}_count", "exit", _ANSWERED), "{{exit}}"),
            stacked=True,
        ),
        graph(
            "Requests by route",
            "Responses by route: <exit>@<cut>. A change shows where the service split the model.",
            "reqps",
            Query(_rate(f"{_REQUESTS}_count", "route", _ANSWERED), "{{route}}"),
            stacked=True,
        ),
        graph(
            "Bandwidth against the thresholds of routes",
            "Measured bandwidth of each entry node, what four transfers in five exceed, and the bandwidth "
            "from which each route of the table is used.",
            "bps",
            Query(f"max by (node, peer) (edge_link_bandwidth_bits{{{_OWN}}})", "{{node}} to {{peer}}"),
            Query(
                f"max by (node, peer) (edge_link_bandwidth_low_bits{{{_OWN}}})", "{{node}} to {{peer}}, low"
            ),
            Query(f"max by (route) (edge_route_min_bandwidth_bits{{{_OWN}}} > 0)", "from: {{route}}"),
            limits="/^from: /",
            span=12,
        ),
        graph(
            "Predicted against measured latency",
            "95th percentile at each entry node, and what the plan predicts for its active route at the "
            "bandwidth from which that route is used.",
            "s",
            Query(_quantile("0.95", "node"), "{{node}}"),
            Query(f"max by (node) ({predicted})", "predicted: {{node}}"),
            limits="/^predicted: /",
            span=12,
        ),
        graph(
            "Measured over profiled compute time",
            "Median of the last 500 runs at an entry node over the profile of its device class, by exit: 1 "
            "is as planned. From 100 runs on.",
            "short",
            Query(f"max by (node, exit) (edge_compute_residual_ratio{{{_OWN}}})", "{{node}}, {{exit}}"),
            Query("vector(1)", "as planned"),
            limits="as planned",
        ),
        graph(
            "Changes of the route",
            "Changes of the route in use, by entry node.",
            "cpm",
            Query(f"60 * {_rate('edge_route_switches_total', 'node')}", "{{node}}"),
        ),
        graph(
            "Stages and hops",
            "Mean time of the stage at the entry node, queueing included, and of the hop behind it.",
            "s",
            Query(
                f"{_rate('edge_stage_duration_seconds_sum', 'node')} / "
                f"({_rate('edge_stage_duration_seconds_count', 'node')} > 0)",
                "stage: {{node}}",
            ),
            Query(
                f"{_rate('edge_hop_duration_seconds_sum', 'node')} / "
                f"({_rate('edge_hop_duration_seconds_count', 'node')} > 0)",
                "hop: {{node}}",
            ),
        ),
    ]


def _experience() -> list[Panel]:
    return [
        number(
            "Accuracy",
            "Mean accuracy of the active routes over the entry nodes.",
            "percentunit",
            f"max(edge_qoe_accuracy_ratio{{{_OWN}}})",
        ),
        number(
            "Latency",
            "95th percentile at the slowest entry node, in the minute before its last report.",
            "s",
            f"max(edge_qoe_latency_seconds{{{_OWN}}})",
        ),
        number(
            "Communication",
            "Mean bytes of a request on the uplink to a Triton server, as planned.",
            "bytes",
            f"max(edge_qoe_communication_bytes{{{_OWN}}})",
        ),
        number(
            "Energy",
            "Mean energy of a request at an entry node, as planned. Requires watts or radio in the pool.",
            "joule",
            f"max(edge_qoe_energy_joules{{{_OWN}}})",
        ),
        number(
            "Leaves the entry nodes",
            "What leaves the most open entry node now.",
            "short",
            f"min(edge_qoe_privacy_level{{{_OWN}}})",
            words={0: "Inputs", 1: "Activations", 2: "Nothing"},
            steps=PLAIN,
        ),
        number(
            "Memory",
            "Slices of the service at the entry node that loads most.",
            "bytes",
            f"max(edge_qoe_memory_bytes{{{_OWN}}})",
        ),
        graph(
            "Communication",
            "Bytes that requests by each route sent over the uplink, as planned for a request.",
            "Bps",
            Query(f"sum by (route) ({_by_route('edge_route_predicted_sent_bytes')})", "{{route}}"),
            stacked=True,
        ),
        graph(
            "Power",
            "Power that requests take at each entry node beyond idling, as planned for a request.",
            "watt",
            Query(f"sum by (node) ({_by_route('edge_route_predicted_energy_joules')})", "{{node}}"),
            stacked=True,
        ),
        graph(
            "Memory of slices",
            "Bytes of the loaded slices at each entry node, each counted once.",
            "bytes",
            Query(f"max by (node) (edge_sessions_bytes{{{_OWN}}})", "{{node}}"),
        ),
        graph(
            "Idle entry nodes",
            "1 while an entry node has let go of the service's sessions for lack of requests.",
            "short",
            Query(f"max by (node) (edge_idle{{{_OWN}}})", "{{node}}"),
        ),
        graph(
            "Wait of first requests",
            "Mean time that the first request after idle times waited for its session, by entry node.",
            "s",
            Query(
                f"{_rate('edge_first_request_load_seconds_sum', 'node')} / "
                f"{_rate('edge_first_request_load_seconds_count', 'node')}",
                "{{node}}",
            ),
        ),
    ]


def _faults() -> list[Panel]:
    arrived = _rate(f"{_REQUESTS}_count", "node")
    lost = _rate(f"{_REQUESTS}_count", "node", 'outcome=~"failed|refused"')
    return [
        graph(
            "Requests by outcome",
            "ok, fallback (the local ladder answered), failed, refused, filtered and cached.",
            "reqps",
            Query(_rate(f"{_REQUESTS}_count", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Fallbacks by reason",
            "Responses by a local route in place of a hop that was late, failed, or found the link busy.",
            "reqps",
            Query(_rate("edge_deadline_fallbacks_total", "reason"), "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Refused and failed requests",
            "Share of requests that got no result, by entry node.",
            "percentunit",
            Query(
                f"({lost} or 0 * {arrived}) / ({arrived} > 0)",
                "{{node}}",
            ),
            maximum=1,
        ),
        graph(
            "Hops by outcome",
            "Hops to the next stage: ok, late, failed, busy.",
            "ops",
            Query(_rate("edge_hop_duration_seconds_count", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Wait in the queue",
            "95th percentile of the time that an inference waited for the thread of its entry node.",
            "s",
            Query(
                f"histogram_quantile(0.95, {_rate('edge_queue_duration_seconds_bucket', 'node, le')})",
                "{{node}}",
            ),
        ),
        graph(
            "Requests in a run",
            "Mean size of the batches of the queue. Runs outside the queue are not counted.",
            "short",
            Query(
                f"{_rate('edge_batch_size_sum', 'node')} / ({_rate('edge_batch_size_count', 'node')} > 0)",
                "{{node}}",
            ),
        ),
    ]
