"""What a route table reserves: busy time, bits and memory, and the requests that others wait for.

Busy time and bits are those of the route at the planned bandwidth. Memory is that of all routes of the table,
since runtimes and Triton keep all of them loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import TypeVar

from edge_planning.costs.profiles import ClassProfile
from edge_planning.graphs.models import Exit
from edge_planning.plans import Route, RouteTable
from edge_planning.pools.figures import Figures
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import wait
from edge_planning.problems import EntryProblem, Load, Traffic
from edge_planning.responses import crossing

Named = TypeVar("Named")


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
        packed: Whether its weights are packed; with and without, it is in memory twice.
    """

    memory: Resource
    runtime: str
    digest: str = ""
    start: str = ""
    end: str = ""
    packed: bool = True


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a demand holds.

    Attributes:
        uses: Compute seconds per second, and bit/s.
        parts: Bytes.
        traffic: Requests at the rate that is reserved, by place.
        waits: Seconds of wait that the plan assumes, by place.
        slack: Seconds by which the route at the planned bandwidth is early; infinite if it is late.
        percentile: Of the SLO.
    """

    uses: Mapping[Resource, float]
    parts: Mapping[Part, float]
    traffic: Mapping[str, Traffic]
    waits: Mapping[str, float]
    slack: float
    percentile: float

    @property
    def resources(self) -> set[Resource]:
        """What it uses."""
        return {*self.uses, *(part.memory for part in self.parts)}


@dataclass(frozen=True, slots=True)
class Stops:
    """Where the slices of a route end: indices in the cuts of an exit, its output last.

    Attributes:
        first: End of the entry node's slice.
        second: End of the intermediate node's slice; that of the entry node's slice if the route has none.
    """

    exit: Exit
    first: int
    second: int
    intermediate: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a mean request needs: compute seconds at each place, and bits on the uplink.

    Attributes:
        near: Seconds at the intermediate node.
        receiving, receiving_near: Seconds at the entry node and the intermediate node outside of inference.
    """

    exit: Exit
    intermediate: str | None
    head: float
    near: float
    tail: float
    bits: float
    receiving: float
    receiving_near: float


def reservation(
    demand: PoolDemand,
    problem: EntryProblem,
    table: RouteTable,
    bandwidth: float,
    runtime_memory: float,
    figures: Figures,
) -> Reservation:
    """Returns what a table reserves at a planned bandwidth in bit/s."""
    planned = table.at(bandwidth)
    exits = {one.name: one for one in problem.model.exits}
    parts: dict[Part, float] = {}
    for route in table.routes:
        parts |= parts_of(demand, problem, stops(exits[route.exit], route, figures), figures)
    return made(
        demand,
        problem,
        Work(
            exits[planned.exit],
            planned.intermediate,
            planned.head or 0.0,
            planned.intermediate_compute or 0.0,
            planned.tail or 0.0,
            float(planned.bits),
            *_receiving(problem, exits[planned.exit], planned),
        ),
        with_runtimes(demand, parts, runtime_memory, figures),
        _slack(problem, planned, bandwidth),
        figures,
    )


def made(
    demand: PoolDemand,
    problem: EntryProblem,
    work: Work,
    parts: Mapping[Part, float],
    slack: float,
    figures: Figures,
) -> Reservation:
    """Returns the reservation of requests with this work."""
    uses: dict[Resource, float] = {}
    traffic: dict[str, Traffic] = {}
    waits: dict[str, float] = {}
    for place, kind, run, receiving, profile, load in _stages(problem, work):
        busy = run + receiving
        if busy <= 0 or profile is None:
            continue
        uses[figures.known(Resource(kind, place))] = demand.rate * busy
        variance = figures.variance(profile, work.exit) if run > 0 else 0.0
        if run > 0:  # only runs wait for runs
            waits[place] = _assumed(load, busy, variance, problem.slo.percentile)
        traffic[place] = figures.known(Traffic(demand.rate, busy, variance))
    if work.bits:
        uses[figures.known(Resource(Kind.UPLINK, problem.node))] = demand.rate * work.bits
    return Reservation(uses, parts, traffic, waits, slack, problem.slo.percentile)


def stops(exit_: Exit, route: Route, figures: Figures) -> Stops:
    """Returns where the slices of a route end."""
    names = figures.tensors(exit_)
    end = len(exit_.cuts)
    first = end if route.cut is None else names.index(route.cut)
    second = first if route.intermediate is None else end
    if route.second_cut is not None:
        second = names.index(route.second_cut)
    return Stops(exit_, first, second, route.intermediate)


def parts_of(demand: PoolDemand, problem: EntryProblem, at: Stops, figures: Figures) -> dict[Part, float]:
    """Returns the slices of a route and their bytes."""
    end, names = len(at.exit.cuts), figures.tensors(at.exit)
    near = next((one.profile for one in problem.intermediates if one.name == at.intermediate), None)
    found: dict[Part, float] = {}
    for place, runtime, start, stop, profile in (
        (problem.node, demand.runtime, 0, at.first, problem.entry),
        (at.intermediate or "", demand.runtime, at.first, at.second, near),
        (problem.peer, "", at.second, end, None),
    ):
        if start < stop:
            memory = figures.known(Resource(Kind.MEMORY, place))
            packed = profile is None or profile.packs is not False
            part = Part(memory, runtime, demand.digest, names[start], names[stop], packed)
            size = figures.memory(problem.model, at.exit, start, stop)
            found[figures.known(part)] = size if profile is None else size * profile.memory
    return found


def with_runtimes(
    demand: PoolDemand, parts: Mapping[Part, float], runtime_memory: float, figures: Figures
) -> Mapping[Part, float]:
    """Returns the slices, and the runtimes that hold them; the entry node always needs one."""
    home = Part(Resource(Kind.MEMORY, demand.node), demand.runtime)
    runtimes = (home, *(Part(one.memory, one.runtime) for one in parts if one.runtime))
    return {**parts, **{figures.known(one): runtime_memory for one in runtimes}}


def renamed(reserved: Reservation, before: str, after: str) -> Reservation:
    """Returns the same reservation at another entry node."""

    def moved(one: Resource) -> Resource:
        return Resource(one.kind, after) if one.place == before else one

    def named(amounts: Mapping[str, Named]) -> Mapping[str, Named]:
        return {after if place == before else place: amount for place, amount in amounts.items()}

    parts = {replace(part, memory=moved(part.memory)): size for part, size in reserved.parts.items()}
    uses = {moved(one): amount for one, amount in reserved.uses.items()}
    traffic, waits = named(reserved.traffic), named(reserved.waits)
    return Reservation(uses, parts, traffic, waits, reserved.slack, reserved.percentile)


def _stages(
    problem: EntryProblem, work: Work
) -> Iterator[tuple[str, Kind, float, float, ClassProfile | None, Load]]:
    yield problem.node, Kind.CPU, work.head, work.receiving, problem.entry, problem.load
    for each in problem.intermediates:
        if each.name == work.intermediate:
            yield each.name, Kind.CPU, work.near, work.receiving_near, each.profile, each.load
    yield problem.peer, Kind.BUSY, work.tail, 0.0, problem.remote, problem.remote_load


def _receiving(problem: EntryProblem, exit_: Exit, route: Route) -> tuple[float, float]:
    """Returns the seconds outside of inference at the entry node and at the intermediate node of a route."""
    near = next((one for one in problem.intermediates if one.name == route.intermediate), None)
    back = crossing(exit_.response)
    uplink = sent = max(route.bits / 8 - back, 0.0)
    if near is not None:
        codec = next(one for one in problem.codecs if one.name == route.codec.split(",")[0])
        cut = next(one for one in exit_.cuts if one.name == route.cut)
        sent = codec.sent(exit_.name, cut.name, cut.size)
    here, there = problem.entry.requests, None if near is None else near.profile.requests
    return (
        0.0 if here is None else here.of(float(exit_.cuts[0].size), sent, back),
        0.0 if there is None else there.of(sent, uplink, back),
    )


def _assumed(load: Load, seconds: float, variance: float, percentile: float) -> float:
    own = Traffic(load.rate, seconds, variance)
    streams = (own,) if load.others is None else (own, load.others)
    return load.wait + (wait(streams, load.servers, percentile) if load.rate or load.others else 0.0)


def _slack(problem: EntryProblem, route: Route, bandwidth: float) -> float:
    if route.met_from is None or route.met_from > bandwidth:
        return inf
    if not route.bits:
        return problem.slo.latency - route.latency
    return max(route.bits / route.met_from - route.bits / bandwidth, 0.0) if route.met_from else inf
