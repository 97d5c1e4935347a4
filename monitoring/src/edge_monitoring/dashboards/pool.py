"""The nodes, links and Triton servers of a pool."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.panels import (
    BAD_IF_ZERO,
    GOOD_IF_ZERO,
    RATE,
    Query,
    assembled,
    board,
    choice,
    graph,
    number,
)
from edge_monitoring.rules import OBJECTIVE

_OWN: Final = 'pool="$pool"'
_OF_POOL: Final = f"and on (namespace, service) {OBJECTIVE}{{{_OWN}}}"
"""Selects series of the services of the pool."""
_NODES: Final = f"and on (pod, namespace) (edge_active_route {_OF_POOL})"
"""Selects series of the runtimes that serve them."""


def _per_node(metric: str) -> str:
    return f"max by (namespace, node) ({metric} {_NODES})"


def pool() -> Dashboard:
    """Returns the dashboard of one pool."""
    made = board(
        "edge-pool",
        "Edge intelligence / Pool",
        "Nodes, links and Triton servers of a DevicePool.",
        [choice("pool", "Pool", "label_values(edge_pool_nodes, pool)")],
    )
    at_node = "{{node}}, {{namespace}}"
    link = "{{node}} to {{peer}}"
    return assembled(
        made,
        {
            "Nodes and servers": [
                number(
                    "Ready nodes",
                    "Nodes of the pool that are Ready.",
                    "short",
                    f'max(edge_pool_nodes{{{_OWN}, ready="true"}})',
                    steps=BAD_IF_ZERO,
                ),
                number(
                    "Nodes not Ready",
                    "Nodes of the pool that are not Ready.",
                    "short",
                    f'max(edge_pool_nodes{{{_OWN}, ready="false"}})',
                    steps=GOOD_IF_ZERO,
                ),
                number(
                    "Triton servers that respond",
                    "Triton servers of the pool that respond.",
                    "short",
                    f"sum(max by (server) (edge_pool_triton_up{{{_OWN}}}))",
                    steps=BAD_IF_ZERO,
                ),
                number(
                    "Links down",
                    "Links to a Triton server or another node whose peer does not respond.",
                    "short",
                    f"count(min by (node, peer) (edge_link_bandwidth_bits {_OF_POOL}) == 0) or vector(0)",
                    steps=GOOD_IF_ZERO,
                ),
                number("Services", "Services of the pool.", "short", f"count({OBJECTIVE}{{{_OWN}}})"),
                number(
                    "Pool is Ready",
                    "Whether every selector selects a node of this pool alone.",
                    "short",
                    f'max(edge_pool_condition{{{_OWN}, condition="Ready"}})',
                    steps=BAD_IF_ZERO,
                    words={0: "No", 1: "Yes"},
                ),
            ],
            "Links": [
                graph(
                    "Bandwidth of links",
                    "Measured bandwidth from each node to its peer; 0 while the link is down.",
                    "bps",
                    Query(f"max by (node, peer) (edge_link_bandwidth_bits {_OF_POOL})", link),
                    span=6,
                ),
                graph(
                    "Bandwidth that four transfers in five exceed",
                    "The lower estimate, by which the runtime judges whether a route is in time.",
                    "bps",
                    Query(f"max by (node, peer) (edge_link_bandwidth_low_bits {_OF_POOL})", link),
                    span=6,
                ),
                graph(
                    "Age of the last measurement",
                    "Time since the link was last measured by a transfer or a probe.",
                    "s",
                    Query(
                        f"time() - max by (node, peer) (edge_link_measured_timestamp_seconds {_OF_POOL})",
                        link,
                    ),
                    span=6,
                ),
                graph(
                    "Traffic of probes",
                    "Bytes that probes send, with overhead.",
                    "Bps",
                    Query(f"sum by (node, peer) (rate(edge_probe_bytes_total[{RATE}]))", link),
                    span=6,
                ),
            ],
            "Runtimes": [
                graph(
                    "Slowdown",
                    "Recent time of runs at a node over that at their warm-up: 1 is as profiled.",
                    "short",
                    Query(_per_node("edge_stage_slowdown_ratio"), at_node),
                ),
                graph(
                    "Spare time",
                    "Part of a processor's time that requests beyond the planned rates get.",
                    "percentunit",
                    Query(_per_node("edge_spare_time_ratio"), at_node),
                    maximum=1,
                ),
                graph(
                    "Memory",
                    "Resident memory of the runtime of each node.",
                    "bytes",
                    Query(_per_node("edge_resident_bytes"), at_node),
                ),
                graph(
                    "Slices",
                    "Bytes of the loaded slices of the pool's services, by node.",
                    "bytes",
                    Query(f"sum by (node, namespace) (edge_sessions_bytes {_OF_POOL})", at_node),
                    span=6,
                ),
                graph(
                    "Requests",
                    "Requests that arrive at each node.",
                    "reqps",
                    Query(
                        f"sum by (node, namespace) (rate(edge_slo_requests_total[{RATE}]) {_OF_POOL})",
                        at_node,
                    ),
                    stacked=True,
                    span=6,
                ),
                graph(
                    "Days until certificates expire",
                    "The operator renews its certificates 30 days before they expire.",
                    "d",
                    Query(
                        f"({_per_node('edge_certificate_expiry_timestamp_seconds')} - time()) / 86400",
                        at_node,
                    ),
                    span=6,
                ),
                graph(
                    "Current inference",
                    "How long the current run on the thread has lasted; 0 between runs.",
                    "s",
                    Query(_per_node("edge_inference_running_seconds"), at_node),
                    span=6,
                ),
            ],
        },
    )
