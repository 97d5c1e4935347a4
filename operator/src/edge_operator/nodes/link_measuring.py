"""Which runtime of a node measures a link that several use, and what the others receive of it. Pure.

A link is a node and a peer: a Triton server, or another node. Its probes come from one runtime, the oldest
that was Ready when they began, as long as it is Ready. The others receive what it reports, when that differs
from what they know by as much as matters to their route tables. It holds for a time and is renewed
before that ends, so that runtimes measure by themselves while no operator renews it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge_api.quantities import Bandwidth, Duration, Quantity, parse_duration, parse_quantity
from edge_api.told_links import LINKS_ANNOTATION, ToldLink, read_links, write_links
from edge_operator.cluster import Object
from edge_operator.nodes.runtimes import Runtime, runtime_of
from edge_planning.links.bands import crosses, departs, differs

SHORTEST_RENEWAL: Final = 900.0
"""Seconds between two renewals of what a Placement says of links, while the links hold."""
_RENEWALS: Final = 10.0
"""Renewals a minute, at most, of all Placements together."""
_DEFAULT_BUDGET: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class LinkUser:
    """A runtime that uses a link. since: creation of its first Placement. measuring: whether it probes."""

    runtime: Runtime
    since: str
    ready: bool
    measuring: bool


@dataclass(frozen=True, slots=True)
class Telling:
    """A Placement whose annotation is to change. text: None to remove it."""

    placement: Object
    text: str | None


def measurer(users: Iterable[LinkUser]) -> Runtime | None:
    """Returns the runtime that measures a link: the one that does, else the oldest, of those that are Ready.

    If none is Ready, it is the one that does, else the oldest.
    """
    best = min(users, key=lambda u: (not u.ready, not u.measuring, u.since, u.runtime), default=None)
    return best.runtime if best is not None else None


def renewal(told: int) -> float:
    """Returns the seconds between two renewals if so many Placements receive values."""
    return max(SHORTEST_RENEWAL, 60.0 * told / _RENEWALS)


def share(budget: int, others: int) -> int:
    """Returns the part of a link's probe budget for each of the other runtimes: a power of two of them."""
    return budget >> math.ceil(math.log2(max(others, 1)))


def tellings(
    placements: Sequence[Object], ready: Callable[[Runtime], bool], now: datetime, every: float
) -> list[Telling]:
    """Returns the annotations to change at one node. placements: all of the node. every: see `renewal`."""
    told: dict[int, dict[str, ToldLink]] = {}
    before = [read_links(body["metadata"].get("annotations") or {}) for body in placements]
    for users in _links(placements).values():
        runtimes = {runtime_of(placements[index]) for index, _ in users}
        if len(runtimes) < 2:
            continue
        chosen = measurer(_users(users, placements, before, ready))
        reports = (_reported(placements[i], peer) for i, peer in users if runtime_of(placements[i]) == chosen)
        report = max(filter(None, reports), key=lambda found: found[0], default=None)
        for index, peer in users:
            known, body = before[index].get(peer), placements[index]
            link: ToldLink | None
            if runtime_of(body) == chosen:
                link = _here(known, now)
            elif report is None:  # it keeps what it knows, or measures by itself
                link = known if known is not None and known.measured == "Elsewhere" else None
            else:
                wanted = _told(report[1], share(_budget(body), len(runtimes) - 1), now, every)
                link = known if known is not None and _holds(known, wanted, body, now) else wanted
            if link is not None:
                told.setdefault(index, {})[peer] = link
    return [
        Telling(body, write_links(told[index]) if index in told else None)
        for index, body in enumerate(placements)
        if told.get(index, {}) != before[index]
        or (index not in told and LINKS_ANNOTATION in (body["metadata"].get("annotations") or {}))
    ]


def renewed_after(placements: Sequence[Object], changes: Iterable[Telling], now: datetime) -> float | None:
    """Returns the seconds until values have to be renewed; None if no values were sent.

    placements: all of a node. changes: what was written to some of them. Values that were due and that no
    report could renew wait for one.
    """
    told = {
        id(body): (body["metadata"].get("annotations") or {}).get(LINKS_ANNOTATION) for body in placements
    }
    told |= {id(each.placement): each.text for each in changes}
    links = [link for text in told.values() if text for link in read_links({LINKS_ANNOTATION: text}).values()]
    left = [link.valid_for / 2 - _since(link, now) for link in links if link.measured == "Elsewhere"]
    return min((seconds for seconds in left if seconds > 0), default=None)


def _links(placements: Sequence[Object]) -> dict[str, list[tuple[int, str]]]:
    """Returns the users of each link as the numbers of their Placements and the peer's name there.

    Servers of two pools can have one name: the address tells them apart. Runtimes reach another node by an
    address of their own namespace: there the name is the node's.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for index, body in enumerate(placements):
        spec, status = body["spec"], body.get("status") or {}
        link = spec.get("link")
        if link and (status.get("link") or _reaches_triton(spec)):
            found.setdefault(str(link.get("probe")), []).append((index, str(link.get("peer"))))
        for local in spec.get("localLinks") or ():
            if local.get("probe"):
                found.setdefault(f"node {local.get('peer')}", []).append((index, str(local.get("peer"))))
    return found


def _reaches_triton(spec: Mapping[str, Any]) -> bool:
    chains = [*(spec.get("routes") or ()), *(spec.get("intermediateSlices") or ())]
    return any(stage.get("runtime") == "Triton" for chain in chains for stage in chain.get("stages") or ())


def _users(
    users: Sequence[tuple[int, str]],
    placements: Sequence[Object],
    before: Sequence[Mapping[str, ToldLink]],
    ready: Callable[[Runtime], bool],
) -> list[LinkUser]:
    since: dict[Runtime, str] = {}
    measuring: set[Runtime] = set()
    for index, peer in users:
        runtime = runtime_of(placements[index])
        created = str(placements[index]["metadata"].get("creationTimestamp") or "")
        since[runtime] = min(since.get(runtime, created), created)
        known = before[index].get(peer)
        if known is not None and known.measured == "Here":
            measuring.add(runtime)
    return [LinkUser(runtime, at, ready(runtime), runtime in measuring) for runtime, at in since.items()]


def _reported(body: Object, peer: str) -> tuple[str, ToldLink] | None:
    """Returns what a Placement reports of a link, with the time of the report by the clock of its node."""
    status = body.get("status") or {}
    own = status.get("link") if (body["spec"].get("link") or {}).get("peer") == peer else None
    links = [own] if own else [link for link in status.get("localLinks") or () if link.get("peer") == peer]
    if not links or (links[0].get("state") != "Down" and links[0].get("bandwidth") is None):
        return None
    link, at = links[0], str(status.get("lastUpdated") or "")
    return at, ToldLink(
        measured="Elsewhere",
        state="Down" if link.get("state") == "Down" else "Up",
        bandwidth=_bandwidth(link.get("bandwidth")),
        bandwidth_low=_bandwidth(link.get("bandwidthLow")),
        round_trip=_duration(link.get("roundTrip")),
        age=_age(at, link.get("measuredAt")),
    )


def _here(known: ToldLink | None, now: datetime) -> ToldLink:
    if known is not None and known.measured == "Here":
        return known
    return ToldLink(measured="Here", told=_written(now))


def _told(report: ToldLink, budget: int, now: datetime, every: float) -> ToldLink:
    more = {"told": _written(now), "valid_for": Duration(2 * every), "budget": Quantity(budget)}
    return report.model_copy(update=more)


def _holds(known: ToldLink, wanted: ToldLink, body: Object, now: datetime) -> bool:
    """Whether what a Placement has of a link is still good enough."""
    if known.measured != "Elsewhere" or (known.state, known.budget) != (wanted.state, wanted.budget):
        return False
    if _since(known, now) >= known.valid_for / 2:
        return False
    if wanted.state == "Down" or wanted.bandwidth is None:
        return True
    if known.bandwidth is None or departs(known.bandwidth, wanted.bandwidth):
        return False
    routes = body["spec"].get("routes") or ()
    borders = [parse_quantity(str(route.get("minBandwidth") or "0")) for route in routes]
    if crosses((border for border in borders if border > 0), known.bandwidth, wanted.bandwidth):
        return False
    return wanted.round_trip is None or not differs(known.round_trip, wanted.round_trip)


def _since(link: ToldLink, now: datetime) -> float:
    """Returns the seconds since a value was written; infinite if it does not say when."""
    try:
        return abs((now - datetime.fromisoformat(link.told)).total_seconds())
    except (ValueError, TypeError):
        return math.inf


def _budget(body: Object) -> int:
    return parse_quantity(str((body["spec"].get("link") or {}).get("budget") or _DEFAULT_BUDGET))


def _bandwidth(text: str | None) -> Bandwidth | None:
    return None if text is None else Bandwidth(parse_quantity(text))


def _duration(text: str | None) -> Duration | None:
    return None if text is None else Duration(parse_duration(text))


def _age(reported: str, measured: str | None) -> Duration | None:
    """Returns the time from a measurement to its report. Both are by the clock of the entry node."""
    try:
        passed = datetime.fromisoformat(reported) - datetime.fromisoformat(str(measured))
    except (ValueError, TypeError):
        return None
    return Duration(max(passed, timedelta()).total_seconds())


def _written(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
