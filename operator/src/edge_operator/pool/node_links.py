"""Links from an entry node to intermediate nodes: declared by the pool, then as its runtime measures them.

Pure. A measured value replaces the planned one only outside a band, since each new one rewrites the table. It
is kept in the Placement, also while no runtime runs at the other end: the table without that node must not
bring the declared value back, and with it the node. A new declared value starts over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_api import Placement
from edge_api.devicepools import Links
from edge_api.placement_reports import LocalLinkStatus
from edge_api.placements import LocalLink
from edge_api.policies import Isolation
from edge_api.quantities import Duration, Quantity
from edge_operator.keys import ServiceKey
from edge_operator.nodes.peers import Peers
from edge_operator.nodes.runtimes import Runtime
from edge_planning.links.bands import FASTEST_MEASURED, departs, differs
from edge_planning.problems import IntermediateNode


@dataclass(frozen=True, slots=True)
class NodeLink:
    """A link between nodes to plan with. bandwidth: in bit/s. rtt: in seconds."""

    bandwidth: float
    rtt: float


def planned_links(links: Links, published: Placement | None) -> dict[str, NodeLink]:
    """Returns the links to plan with that are not as declared, by node. published: of the entry node."""
    if published is None:
        return {}
    measured = published.status.local_links if published.status is not None else None
    reports = {report.peer: report for report in measured or () if report.state == "Up"}
    found = {}
    for link in published.spec.local_links or ():
        if link.declared != links.local.bandwidth:
            continue
        bandwidth, rtt, report = float(link.bandwidth), float(link.round_trip), reports.get(link.peer)
        if report is not None:
            measured_rate = _rate(report, float(link.declared))
            if measured_rate is not None and departs(bandwidth, measured_rate):
                bandwidth = measured_rate
            if report.round_trip is not None and differs(rtt, report.round_trip):
                rtt = float(report.round_trip)
        found[link.peer] = NodeLink(bandwidth, rtt)
    return found


def _rate(report: LocalLinkStatus, declared: float) -> float | None:
    """Returns the measured bandwidth; on a link too fast for probes, at least the declared one."""
    if report.bandwidth is None or report.bandwidth < FASTEST_MEASURED:
        return None if report.bandwidth is None else float(report.bandwidth)
    return max(declared, FASTEST_MEASURED)


def local_links(
    links: Links, planned: Iterable[IntermediateNode], addresses: Mapping[str, str]
) -> tuple[LocalLink, ...] | None:
    """Returns the links of a Placement: those to measure, and those that were measured before.

    planned: the intermediate nodes with the links that the table was planned for. addresses: of the runtimes
    there that can be probed, by node.
    """
    found = tuple(
        LocalLink(
            peer=node.name,
            probe=f"{addresses[node.name]}/v1/probe" if node.name in addresses else None,
            interval=Duration(links.probe_interval),
            budget=Quantity(links.probe_budget),
            bandwidth=Quantity(round(node.bandwidth)),
            declared=Quantity(links.local.bandwidth),
            round_trip=Duration(node.rtt),
        )
        for node in planned
        if node.name in addresses or node.bandwidth != float(links.local.bandwidth)
    )
    return found or None


def probed_addresses(
    nodes: Iterable[str], service: ServiceKey, isolation: Isolation, peers: Peers, sender: str
) -> dict[str, str]:
    """Returns the URLs of the runtimes of a service at nodes, by node. sender: the node that probes."""
    dedicated = service.name if isolation == "Dedicated" else ""
    return {node: peers.url(Runtime(service.namespace, node, dedicated), sender) for node in nodes}
