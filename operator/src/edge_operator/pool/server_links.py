"""The links from an entry node to the Triton servers of its pool, as far as Placements tell. Pure.

A runtime measures the link to the server that its Placement names. Other servers are known from other
Placements of the node, or from earlier ones of the same service. A link that is not known is assumed to be
like the current one: an entry node does not move for a default value.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_api import Placement
from edge_api.quantities import parse_duration
from edge_operator.cluster import Object
from edge_operator.names import RTT_ANNOTATION, SERVERS_ANNOTATION
from edge_operator.pool import manifests

_CLEARLY = 2.0
"""Factor by which a bandwidth must differ from the one to the current server to count."""


@dataclass(frozen=True, slots=True)
class Link:
    """rtt: in seconds, to plan with. bandwidth: in bit/s, as measured; None if it is not."""

    rtt: float
    bandwidth: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The servers that an entry node used before.

    Attributes:
        left: The one that was lost, to which it returns.
        round_trips: In seconds, by server.
    """

    left: str | None = None
    round_trips: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def published_link(current: Placement | None) -> Link:
    """Returns the link of a Placement, or the default."""
    if current is None:
        return Link(manifests.planned_rtt(None, None))
    planned: float | None = current.spec.link.round_trip if current.spec.link is not None else None
    if planned is None:
        planned = _seconds(current.metadata.annotations.get(RTT_ANNOTATION, ""))
    link = current.status.link if current.status is not None else None
    measured = link.round_trip if link is not None and link.state == "Up" else None
    return Link(manifests.planned_rtt(planned, measured), link.bandwidth if link is not None else None)


def peer_of(placement: Placement | None) -> str | None:
    """Returns the server that a Placement names."""
    return placement.spec.link.peer if placement is not None and placement.spec.link is not None else None


def peer_of_body(placement: Object) -> str:
    """Returns the server that a Placement object names, even if it is otherwise invalid; empty for none."""
    return str((placement["spec"].get("link") or {}).get("peer", ""))


def sends(placement: Placement | None) -> bool:
    """Whether a route of a Placement leads to a Triton server."""
    routes = placement.spec.routes if placement is not None else ()
    return any(stage.runtime == "Triton" for route in routes for stage in route.stages)


def link_to(server: str, current: Placement | None, others: Iterable[Placement]) -> Link:
    """Returns the link to a server. current: the Placement of the service. others: of the node."""
    now = _reported_link(current)
    if current is not None and peer_of(current) == server:
        return now
    alike = next((_reported_link(each) for each in others if peer_of(each) == server), None)
    if alike is None:
        return Link(history(current).round_trips.get(server, now.rtt), now.bandwidth)
    return Link(alike.rtt, _bandwidth(alike.bandwidth, now.bandwidth))


def history(placement: Placement | None) -> History:
    """Returns what a Placement's annotation says; nothing if it is not as written."""
    return _history(placement.metadata.annotations if placement is not None else {})


def _history(annotations: Mapping[str, str]) -> History:
    try:
        found = json.loads(annotations.get(SERVERS_ANNOTATION, "{}"))
        trips = {str(name): float(rtt) for name, rtt in found.get("roundTrips", {}).items() if float(rtt) > 0}
        left = found.get("left")
    except (ValueError, TypeError, AttributeError):
        return History()
    return History(left if isinstance(left, str) else None, trips)


def annotations(
    server: str, left: str | None, before: Placement | None, names: Iterable[str]
) -> dict[str, str]:
    """Returns the annotation from which the next choice starts. before: the Placement until now.

    names: of the pool's servers.
    """
    trips = dict(history(before).round_trips)
    former = peer_of(before)
    if former is not None:
        trips[former] = _reported_link(before).rtt
    kept = {name: float(f"{trips[name]:.4g}") for name in names if name in trips and name != server}
    found = ({"left": left} if left is not None else {}) | ({"roundTrips": kept} if kept else {})
    return {SERVERS_ANNOTATION: json.dumps(found, sort_keys=True)} if found else {}


def _reported_link(current: Placement | None) -> Link:
    """Returns the link as published, without a report on an earlier table, perhaps of another server."""
    if current is not None and current.status is not None:
        seen = current.status.observed_generation or 0
        if seen < (current.metadata.generation or 0):
            current = current.model_copy(update={"status": None})
    return published_link(current)


def _bandwidth(measured: float | None, now: float | None) -> float | None:
    if measured is None or now is None or now / _CLEARLY < measured < now * _CLEARLY:
        return now
    return measured


def _seconds(annotation: str) -> float | None:
    """Returns the seconds of an annotation; None if it is not a number."""
    try:
        return parse_duration(annotation)
    except ValueError:
        return None
