"""What a route table reserves: busy time, bits and memory, and the requests that others wait for.

Busy time and bits are those of the route at the planned bandwidth. At the entry node the local route counts
too, by the larger of the two: when the link fails, requests fall back to it at once, all demands of the node
at the same time, and no plan can come in between. Memory is that of all routes of the table, since runtimes
and Triton keep all of them loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from edge_planning.choosing.exit_costs import variance_of
from edge_planning.plans import Route, RouteTable
from edge_planning.pools.values import PoolDemand
from edge_planning.problems import EntryProblem, Traffic


class Kind(StrEnum):
    """Kinds of resources, as in messages."""

    CPU = "cpu"
    MEMORY = "memory"
    UPLINK = "uplink"
    BUSY = "busy time"


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """A resource of a place: a node or a Triton server."""

    kind: Kind
    place: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.place}"


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """What takes memory at a place once, whatever the number of demands that use it.

    Attributes:
        runtime: The runtime that holds it; empty at Triton.
        digest: Of the model; empty for the runtime itself.
        start, end: The slice's first and last tensors.
    """

    memory: Resource
    runtime: str
    digest: str = ""
    start: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a demand holds.

    Attributes:
        uses: Busy seconds per second, and bit/s.
        parts: Bytes.
        traffic: By place.
        slack: Seconds by which the route at the planned bandwidth is early, for each of its places; infinite
            if it is late.
        percentile: Of the SLO.
    """

    uses: Mapping[Resource, float]
    parts: Mapping[Part, float]
    traffic: Mapping[str, Traffic]
    slack: Mapping[str, float]
    percentile: float


def reservation(
    demand: PoolDemand, problem: EntryProblem, table: RouteTable, bandwidth: float, runtime_memory: float
) -> Reservation:
    """Returns what a table reserves at a planned bandwidth."""
    planned, last = table.at(bandwidth), table.routes[-1]
    uses: dict[Resource, float] = {}
    traffic: dict[str, Traffic] = {}
    exits = {one.name: one for one in problem.model.exits}
    profiles = {each.name: each.profile for each in problem.intermediates}
    head = planned
    if last.cut is None and (last.head or 0.0) > (planned.head or 0.0):
        head = last
    for place, kind, seconds, route, profile in (
        (problem.node, Kind.CPU, head.head, head, problem.entry),
        (
            planned.intermediate or "",
            Kind.CPU,
            planned.intermediate_compute,
            planned,
            profiles.get(planned.intermediate or ""),
        ),
        (problem.peer, Kind.BUSY, planned.tail, planned, problem.remote),
    ):
        if seconds and profile is not None:
            uses[Resource(kind, place)] = demand.rate * seconds
            traffic[place] = Traffic(demand.rate, seconds, variance_of(profile, exits[route.exit]))
    if planned.bits:
        uses[Resource(Kind.UPLINK, problem.node)] = demand.rate * planned.bits
    parts = {part: size for route in table.routes for part, size in _parts(demand, problem, route)}
    for part in list(parts):
        if part.runtime:
            parts[Part(part.memory, part.runtime)] = runtime_memory
    parts.setdefault(Part(Resource(Kind.MEMORY, problem.node), demand.runtime), runtime_memory)
    slack = dict.fromkeys(traffic, _slack(problem, planned, bandwidth) / max(len(traffic), 1))
    if head is not planned and problem.node in slack:
        slack[problem.node] = min(slack[problem.node], _slack(problem, last, bandwidth))
    return Reservation(uses, parts, traffic, slack, problem.slo.percentile)


def _slack(problem: EntryProblem, route: Route, bandwidth: float) -> float:
    if route.met_from is None or route.met_from > bandwidth:
        return inf
    if not route.bits:
        return problem.slo.latency - route.latency
    return max(route.bits / route.met_from - route.bits / bandwidth, 0.0) if route.met_from else inf


def _parts(demand: PoolDemand, problem: EntryProblem, route: Route) -> Iterator[tuple[Part, float]]:
    exit_ = next(one for one in problem.model.exits if one.name == route.exit)
    names = [*(cut.name for cut in exit_.cuts), exit_.output]
    end = len(names) - 1
    first = end if route.cut is None else names.index(route.cut)
    second = first if route.intermediate is None else end
    if route.second_cut is not None:
        second = names.index(route.second_cut)
    for place, runtime, start, stop in (
        (problem.node, demand.runtime, 0, first),
        (route.intermediate or "", demand.runtime, first, second),
        (problem.peer, "", second, end),
    ):
        if start < stop:
            size = sum(problem.model.memory.get(pair, 0.0) for pair in exit_.segments()[start:stop])
            memory = Resource(Kind.MEMORY, place)
            yield Part(memory, runtime, demand.digest, names[start], names[stop]), size
