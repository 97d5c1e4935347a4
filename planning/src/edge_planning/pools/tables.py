"""The best route table of one demand, given what others hold."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import ceil, floor, log10

import numpy as np

from edge_planning.choosing.entries import plan_entry
from edge_planning.choosing.enumeration import candidates
from edge_planning.plans import Infeasible, Plan
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Kind, Reservation, Resource, reservation
from edge_planning.pools.results import Placed
from edge_planning.pools.values import PoolDemand
from edge_planning.problems import EntryProblem, Load, Traffic
from edge_planning.sharing.options import options_of

Admits = Callable[[Reservation], bool]
Key = tuple[object, ...]
_LARGE = frozenset({"model", "entry", "remote", "tables", "codecs", "intermediates", "confidences"})
_NODE, _PEER = "\0node", "\0peer"  # placeholders that no name contains


@dataclass(frozen=True, slots=True)
class Ranked:
    """A placed table with its rank: higher is better."""

    placed: Placed
    rank: tuple[bool, float, float, bool]
    """Whether the planned route meets the SLO, its worth, the table's accuracy, whether the server stays."""


class Tables:
    """Plans tables of single demands; equal questions are answered once."""

    def __init__(self, runtime_memory: float, uplinks: dict[str, float], servers: dict[str, int]) -> None:
        self.runtime_memory = runtime_memory
        self.uplinks = uplinks
        self.servers = servers
        self._fronts: dict[Key, tuple[int, ...]] = {}
        self._known: dict[Key, Plan | Infeasible] = {}
        self._numbers: dict[int, int] = {}
        self._values: list[tuple[int, object]] = []

    def alone(self, demand: PoolDemand, problem: EntryProblem) -> EntryProblem:
        """Returns the problem at the demand's rate and its places' concurrency, without other demands."""
        return replace(
            problem,
            load=replace(problem.load, rate=demand.rate),
            remote_load=replace(
                problem.remote_load, rate=demand.rate, servers=self.servers.get(problem.peer, 1)
            ),
            intermediates=tuple(
                replace(one, load=replace(one.load, rate=demand.rate)) for one in problem.intermediates
            ),
        )

    def beside(self, demand: PoolDemand, problem: EntryProblem, ledger: Ledger) -> EntryProblem:
        """Returns the problem with the waits that the others' requests cause."""
        alone = self.alone(demand, problem)
        return replace(
            alone,
            load=_crowded(alone.load, ledger.traffic(alone.node)),
            remote_load=_crowded(alone.remote_load, ledger.traffic(alone.peer)),
            intermediates=tuple(
                replace(one, load=_crowded(one.load, ledger.traffic(one.name))) for one in alone.intermediates
            ),
            uplink_used=_rounded_up(ledger.used(Resource(Kind.UPLINK, alone.node))),
        )

    def best(self, demand: PoolDemand, ledger: Ledger | None, admits: Admits) -> Ranked | None:
        """Returns the best table that is admitted, over all Triton servers, or None if none is admitted.

        The table as it would be without limits comes first. If it is not admitted: only candidates that are,
        in shorter and shorter tables, since each route takes memory.
        """
        found: Ranked | None = None
        for problem in sorted(demand.problems, key=lambda one: one.peer):
            asked = self.alone(demand, problem)
            if ledger is not None:
                asked = self.beside(demand, problem, ledger)
            one = self._at(demand, asked, admits)
            if one is not None and (found is None or one.rank > found.rank):
                found = one
        return found

    def least(
        self, demand: PoolDemand, admits: Admits, cost: Callable[[Reservation], float]
    ) -> Ranked | None:
        """Returns the one-route table that costs least among those in time, else among all admitted."""
        found: tuple[tuple[bool, float], Ranked] | None = None
        for problem in sorted(demand.problems, key=lambda one: one.peer):
            asked = self.alone(demand, problem)
            for index in self._options(demand, asked):
                one = self._ranked(demand, asked, self.answer(asked, only=index), admits)
                if one is None:
                    continue
                key = (not one.rank[0], cost(one.placed.reservation))
                if found is None or key < found[0]:
                    found = key, one
        return found[1] if found else None

    def answer(self, problem: EntryProblem, only: int | None = None) -> Plan | Infeasible:
        """Returns plan_entry's result, from memory if another node has an equal problem."""
        plain = _nameless(problem)
        key: Key = (self._key(plain), only)
        if key not in self._known:
            keep = None if only is None else lambda _: np.array([only], dtype=np.int64)
            self._known[key] = plan_entry(plain, keep)
        return _named(self._known[key], plain, problem)

    def _key(self, problem: EntryProblem) -> Key:
        """Returns a key that is equal for equal problems."""
        return tuple(
            self._number(value) if name in _LARGE else value
            for name, value in ((each.name, getattr(problem, each.name)) for each in fields(problem))
        )

    def _number(self, value: object) -> int:
        """Returns the number of the first value that is equal; large values are compared once."""
        if id(value) not in self._numbers:
            equal = (number for number, one in self._values if one == value)
            self._numbers[id(value)] = next(equal, len(self._values))
            self._values.append((self._numbers[id(value)], value))
        return self._numbers[id(value)]

    def _options(self, demand: PoolDemand, problem: EntryProblem) -> tuple[int, ...]:
        """Returns the candidates to try one by one: of the joint choice, all local ones and the fastest."""
        bandwidth = self.bandwidth(problem)
        key: Key = (self._key(_nameless(problem)), bandwidth)
        if key in self._fronts:
            return self._fronts[key]
        every = candidates(problem)
        _, timely = options_of(
            every,
            bandwidth=bandwidth,
            deadline=problem.slo.latency,
            rate=demand.rate,
            node=problem.node,
            triton=problem.peer,
        )
        fastest = [int(every.latencies(bandwidth).argmin())] if len(every) else []
        self._fronts[key] = tuple(sorted({*timely.tolist(), *np.flatnonzero(every.local).tolist(), *fastest}))
        return self._fronts[key]

    def bandwidth(self, problem: EntryProblem) -> float:
        """Returns the bandwidth in bit/s to plan for: as measured, else the declared uplink."""
        return problem.bandwidth if problem.bandwidth is not None else self.uplinks[problem.node]

    def _at(self, demand: PoolDemand, problem: EntryProblem, admits: Admits) -> Ranked | None:
        answer = self.answer(problem)
        if isinstance(answer, Infeasible):
            return None
        first = self._ranked(demand, problem, answer, admits)
        if first is not None:
            return first
        allowed: list[int] = [
            index
            for index in self._options(demand, problem)
            if self._ranked(demand, problem, self.answer(problem, only=index), admits) is not None
        ]
        if not allowed:
            return None
        for routes in range(problem.tables.routes, 0, -1):
            fewer = replace(problem, tables=replace(problem.tables, routes=routes))
            answer = plan_entry(fewer, lambda _: np.array(allowed, dtype=np.int64))
            one = self._ranked(demand, problem, answer, admits)
            if one is not None:
                return one
        singles = (
            self._ranked(demand, problem, self.answer(problem, only=index), admits) for index in allowed
        )
        return max((one for one in singles if one is not None), key=lambda one: one.rank, default=None)

    def _ranked(
        self, demand: PoolDemand, problem: EntryProblem, answer: Plan | Infeasible, admits: Admits
    ) -> Ranked | None:
        if isinstance(answer, Infeasible):
            return None
        bandwidth = self.bandwidth(problem)
        table = answer.table
        reserved = reservation(demand, problem, table, bandwidth, self.runtime_memory)
        if not admits(reserved):
            return None
        planned = table.at(bandwidth)
        met = planned.met_from is not None and planned.met_from <= bandwidth
        server = problem.peer if any(route.tail is not None for route in table.routes) else None
        worth = planned.accuracy if planned.worth is None else planned.worth
        rank = (met, worth, table.accuracy, server == demand.server)
        return Ranked(Placed(answer, server, reserved), rank)


def _nameless(problem: EntryProblem) -> EntryProblem:
    """Returns the problem without names of places, unless constraints or routes use them."""
    if problem.must_run_at or problem.must_not_run_at or problem.intermediates:
        return problem
    return replace(problem, node=_NODE, peer=_PEER)


def _named(answer: Plan | Infeasible, plain: EntryProblem, problem: EntryProblem) -> Plan | Infeasible:
    """Returns the result of the nameless problem with the names in its reasons."""
    if plain is problem or not answer.reasons:
        return answer
    reasons = (one.replace(_NODE, problem.node).replace(_PEER, problem.peer) for one in answer.reasons)
    return replace(answer, reasons=tuple(reasons))


def _crowded(load: Load, others: Traffic | None) -> Load:
    """Returns the load with other requests, rounded up."""
    if others is None or others.rate * others.seconds <= 0:
        return load
    rounded = Traffic(*(_rounded_up(one) for one in (others.rate, others.seconds, others.variance)))
    return replace(load, others=rounded)


def _rounded_up(amount: float) -> float:
    """Returns an amount rounded up to two significant digits, so that equal problems are found again."""
    if amount <= 0:
        return 0.0
    step = 10.0 ** (floor(log10(amount)) - 1)
    return float(f"{ceil(amount / step - 1e-9) * step:.6g}")
