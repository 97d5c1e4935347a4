"""The candidates of a demand that are worth trying, with what each reserves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from edge_planning.choosing.candidates import LOCAL, NONE, Candidates, Floats, Mask
from edge_planning.plans import RouteTable
from edge_planning.pools.figures import Figures
from edge_planning.pools.questions import Questions
from edge_planning.pools.recent import Recent
from edge_planning.pools.reservations import (
    Part,
    Reservation,
    Stops,
    Work,
    made,
    parts_of,
    with_runtimes,
)
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import rounded_down
from edge_planning.problems import EntryProblem, Load
from edge_planning.sharing.options import front

MOST = 24
"""Candidates of a demand in the joint choice."""
KEPT_FRONTS = 2_000


@dataclass(frozen=True, slots=True)
class Costed:
    """A candidate with its reservation, that of the local route beside it included.

    Attributes:
        problem: With the waits that were assumed.
        worth: Of a response in time; 0 if responses are late.
        server: The Triton server that it uses, if any.
    """

    problem: EntryProblem
    index: int
    name: str
    worth: float
    accuracy: float
    latency: float
    reserved: Reservation
    work: Work
    server: str | None


Waits = Mapping[str, float]
Place = tuple[str, int, int, str | None]
Held = tuple[str, frozenset[str], Place, Place | None]


class Costs:
    """Makes the candidates of demands."""

    def __init__(
        self,
        questions: Questions,
        figures: Figures,
        uplinks: Mapping[str, float],
        memory: Mapping[str, float],
        runtime: float,
    ) -> None:
        self.questions = questions
        self.figures = figures
        self.uplinks = uplinks
        self.memory = memory
        self.runtime = runtime
        self._picked: Recent[object, list[tuple[int, int]]] = Recent(KEPT_FRONTS)
        self._parts: dict[str, dict[int, Mapping[Part, float]]] = {}
        self._same_parts: dict[tuple[Part, ...], Mapping[Part, float]] = {}
        self._numbers: dict[Held, int] = {}

    def bandwidth(self, problem: EntryProblem) -> float:
        """Returns the bandwidth in bit/s to plan for: as measured, else the uplink."""
        return planned_bandwidth(problem, self.uplinks)

    def planned_name(self, demand: PoolDemand, table: RouteTable) -> str:
        """Returns the name of the route that a table uses at the planned bandwidth."""
        return table.at(self.bandwidth(demand.problems[0])).name

    def costed(
        self,
        demand: PoolDemand,
        waits: Waits,
        *,
        every: bool = False,
        only: Sequence[int] | None = None,
    ) -> list[Costed]:
        """Returns the candidates that no other equals or beats in worth and all uses, the best first.

        waits: Seconds that each request waits at a place, whatever runs there.
        every: Whether to return all candidates, without minimum accuracy.
        only: The positions of those to return; all by default.
        """
        problems = [waiting(one, waits) for one in demand.problems]
        if every:
            problems = [replace(one, min_accuracy=None) for one in problems]
        tables = [self.questions.candidates(one) for one in problems]
        picked = self._front(demand, problems, tables, every=every)
        if only is not None:
            picked = [picked[position] for position in only]
        latencies = [one.latencies(self.bandwidth(two)) for one, two in zip(tables, problems, strict=True)]
        beside = [self._companion(demand.node, one) for one in tables]
        return [
            self._made(
                demand, problems[n], tables[n], index, latency=float(latencies[n][index]), companion=beside[n]
            )
            for n, index in picked
        ]

    def _front(
        self,
        demand: PoolDemand,
        problems: Sequence[EntryProblem],
        tables: Sequence[Candidates],
        *,
        every: bool,
    ) -> list[tuple[int, int]]:
        bandwidths = [self.bandwidth(one) for one in problems]
        key = (tuple(self.questions.key(one) for one in problems), tuple(bandwidths), every)
        known = self._picked.get(key)
        if known is not None:
            return known
        sizes = [len(one) for one in tables]
        whose = np.repeat(np.arange(len(problems)), sizes)
        index = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, dtype=int)
        latency = np.concatenate([t.latencies(b) for t, b in zip(tables, bandwidths, strict=True)])
        deadline = demand.problems[0].slo.latency
        worth = np.where(latency <= deadline, np.concatenate([one.worth for one in tables]), 0.0)
        uses = self._uses(problems, tables)
        order = np.lexsort((index, whose, latency, -worth))
        order = order[np.isfinite(latency[order])]
        if not every:
            order = order[front(worth[order], uses[order])]
            if len(order) > MOST:
                order = order[np.unique(np.linspace(0, len(order) - 1, MOST).round().astype(int))]
        picked = list(zip(whose[order].tolist(), index[order].tolist(), strict=True))
        return self._picked.put(key, picked)

    def _uses(self, problems: Sequence[EntryProblem], tables: Sequence[Candidates]) -> Floats:
        """Returns what each candidate uses of every resource of every place [candidates, resources]."""
        near = sorted({one.name for problem in problems for one in problem.intermediates})
        blocks = []
        for number, (problem, one) in enumerate(zip(problems, tables, strict=True)):
            remote = np.zeros((len(one), 2 * len(problems)))
            remote[:, 2 * number] = one.tail
            remote[:, 2 * number + 1] = self._tail_bytes(problem, one)
            between = np.zeros((len(one), 2 * len(near)))
            for place, node in enumerate(problem.intermediates):
                column = near.index(node.name)
                there = one.intermediate == place
                busy = one.intermediate_compute + one.receiving_near
                between[:, 2 * column] = np.where(there, busy, 0.0)
                between[:, 2 * column + 1] = there * node.profile.memory
            head = one.mean_head + one.receiving
            blocks.append(np.column_stack((head, one.memory, one.bits, remote, between)))
        return np.concatenate(blocks)

    def _tail_bytes(self, problem: EntryProblem, one: Candidates) -> Floats:
        found = np.zeros(len(one))
        last = np.where(one.intermediate == NONE, one.cut, one.second)
        for number in range(len(one.exits)):
            exit_, end = one.exits[number], len(one.exits[number].cuts)
            left = [self.figures.memory(problem.model, exit_, at, end) for at in range(end + 1)]
            mine = (one.exit == number) & (last != LOCAL)
            found[mine] = np.array(left)[last[mine]]
        return found

    def _made(
        self,
        demand: PoolDemand,
        problem: EntryProblem,
        one: Candidates,
        index: int,
        *,
        latency: float,
        companion: int | None,
    ) -> Costed:
        late = latency > problem.slo.latency
        exit_ = one.exits[int(one.exit[index])]
        at = _stops(one, index)
        beside = None if companion is None or one.local[index] else _stops(one, companion)
        work = Work(
            exit_,
            at.intermediate,
            float(one.mean_head[index]),
            float(one.intermediate_compute[index]),
            float(one.tail[index]),
            float(one.bits[index]),
            float(one.receiving[index]),
            float(one.receiving_near[index]),
        )
        slack = inf if late else problem.slo.latency - latency
        parts = self._all_parts(demand, problem, at, beside)
        reserved = made(demand, problem, work, parts, slack, self.figures)
        return Costed(
            problem=problem,
            index=index,
            name=one.name(index),
            worth=0.0 if late else float(one.worth[index]),
            accuracy=float(one.accuracy[index]),
            latency=latency,
            reserved=reserved,
            work=work,
            server=problem.peer if at.second < len(exit_.cuts) else None,
        )

    def _all_parts(
        self, demand: PoolDemand, problem: EntryProblem, at: Stops, beside: Stops | None
    ) -> Mapping[Part, float]:
        """Returns the runtimes and slices of a route and of the local one beside it."""
        key = (problem.peer, problem.unpacked, _place(at), None if beside is None else _place(beside))
        number = self._numbers.setdefault(key, len(self._numbers))
        mine = self._parts.setdefault(demand.name, {})
        if number not in mine:
            parts = parts_of(demand, problem, at, self.figures)
            if beside is not None:
                parts |= parts_of(demand, problem, beside, self.figures)
            found = with_runtimes(demand, parts, self.runtime, self.figures)
            same = self._same_parts.setdefault(tuple(found), found)
            mine[number] = same if same == found else found
        return mine[number]

    def _companion(self, node: str, one: Candidates) -> int | None:
        """Returns the smallest local candidate; None without one that fits the node."""
        least = smallest_local(one)
        if least is None or one.memory[least] + self.runtime > self.memory.get(node, inf):
            return None
        return least


def planned_bandwidth(problem: EntryProblem, uplinks: Mapping[str, float]) -> float:
    """Returns the bandwidth in bit/s to plan for: measured, rounded down to two digits, or the uplink."""
    return uplinks[problem.node] if problem.bandwidth is None else rounded_down(problem.bandwidth, 2)


def waiting(problem: EntryProblem, waits: Waits) -> EntryProblem:
    """Returns the problem with fixed waits in place of those that its own requests cause."""

    def load(one: Load, place: str) -> Load:
        return Load(one.scale, one.wait + waits.get(place, 0.0), one.memory)

    return replace(
        problem,
        load=load(problem.load, problem.node),
        remote_load=load(problem.remote_load, problem.peer),
        intermediates=tuple(replace(one, load=load(one.load, one.name)) for one in problem.intermediates),
        uplink_used=0.0,
    )


def _place(at: Stops) -> Place:
    return at.exit.name, at.first, at.second, at.intermediate


def _stops(one: Candidates, index: int) -> Stops:
    exit_ = one.exits[int(one.exit[index])]
    end = len(exit_.cuts)
    cut, second = int(one.cut[index]), int(one.second[index])
    first = end if cut == LOCAL else cut
    name = one.intermediate_name(index)
    last = first if name is None else (end if second == NONE else second)
    return Stops(exit_, first, last, name)


def smallest_local(one: Candidates) -> int | None:
    """Returns the local candidate that takes the least memory, the most accurate of equal ones."""
    local = np.flatnonzero(one.local)
    return int(local[np.lexsort((-one.accuracy[local], one.memory[local]))[0]]) if len(local) else None


def no_more_than(one: Candidates, wanted: Costed) -> Mask:
    """Returns the mask of the candidates that use no more of any place than a costed one."""
    keep = one.mean_head <= wanted.work.head * (1 + 1e-9)
    keep &= one.tail <= wanted.work.tail * (1 + 1e-9)
    keep &= one.bits <= wanted.work.bits * (1 + 1e-9)
    keep &= one.intermediate_compute <= wanted.work.near * (1 + 1e-9)
    return keep
