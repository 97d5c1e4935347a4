"""Route tables of single demands, given what others hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_planning.choosing.candidates import Mask
from edge_planning.plans import Infeasible, Plan, Route, RouteTable
from edge_planning.pools.costed import Costed, no_more_than, planned_bandwidth, smallest_local
from edge_planning.pools.figures import Figures
from edge_planning.pools.joint import MOVE_COST
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.packings import packs_like
from edge_planning.pools.questions import Questions
from edge_planning.pools.reservations import Kind, Reservation, reservation
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import rounded, rounded_up, wait
from edge_planning.problems import EntryProblem, Load, Slo, Traffic

SIMILAR = 0.005
"""Part of the SLO by which waits can change, and of an uplink its use, without another table."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A table with its rank.

    Attributes:
        met: Whether the planned route meets the SLO, with the waits that the table is planned with.
        worth: Of the planned route.
    """

    problem: EntryProblem
    plan: Plan
    server: str | None
    reserved: Reservation
    met: bool
    worth: float

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Higher is better."""
        return self.met, self.worth, self.plan.table.accuracy


class Tables:
    """Plans tables of single demands."""

    def __init__(
        self,
        questions: Questions,
        figures: Figures,
        uplinks: Mapping[str, float],
        servers: Mapping[str, int],
        runtime_memory: float,
    ) -> None:
        self.questions = questions
        self.figures = figures
        self.uplinks = uplinks
        self.servers = servers
        self.runtime_memory = runtime_memory
        self._alone: dict[str, list[Ranked]] = {}

    def alone(self, demand: PoolDemand) -> list[Ranked]:
        """Returns the table at each Triton server as if there were no other demands; empty if infeasible."""
        if demand.name not in self._alone:
            found = (self._ranked(demand, self._loaded(demand, one)) for one in demand.problems)
            self._alone[demand.name] = [one for one in found if one is not None]
        return self._alone[demand.name]

    def infeasible(self, demand: PoolDemand) -> Infeasible:
        """Returns why a demand has no table even without other demands."""
        plan = self.questions.plan(self._loaded(demand, demand.problems[0]))
        return plan if isinstance(plan, Infeasible) else Infeasible((), None)

    def beside(self, demand: PoolDemand, ledger: Ledger, first: str) -> list[Ranked]:
        """Returns the table at each Triton server, with the waits that others' requests cause.

        Only that at the server `first` if, even without others, no other server has a better one.
        """
        found: list[Ranked] = []
        for one in sorted(demand.problems, key=lambda one: one.peer != first):
            table = self._ranked(demand, self.crowded(demand, one, ledger))
            if table is not None:
                found.append(table)
                if one.peer == first and all(_as_good(table, other) for other in self.alone(demand)):
                    break
        return found

    def stale(self, demand: PoolDemand, problem: EntryProblem, ledger: Ledger) -> bool:
        """Returns whether others' requests differ much from those with which a table was planned."""
        places = [(problem.node, problem.load), (problem.peer, problem.remote_load)]
        places += [(one.name, one.load) for one in problem.intermediates]
        for place, load in places:
            now = rounded(ledger.others(place, demand.name))
            if now != load.others:
                servers = self.servers.get(place, 1)
                before, after = (_wait(one, servers, problem.slo) for one in (load.others, now))
                if abs(after - before) > SIMILAR * problem.slo.latency:
                    return True
        more = ledger.others_bits(demand) - problem.uplink_used
        return abs(more) > SIMILAR * self.uplinks[problem.node]

    def admitted(self, demand: PoolDemand, chosen: Costed, ledger: Ledger) -> Iterator[Ranked]:
        """Yields tables that use no more than a candidate at its places, the best first."""
        peer, unpacked = chosen.problem.peer, chosen.problem.unpacked
        problem = next(one for one in demand.problems if (one.peer, one.unpacked) == (peer, unpacked))
        yield from self._narrowed(demand, self.crowded(demand, problem, ledger), chosen)

    def within(self, demand: PoolDemand, chosen: Costed, ledger: Ledger) -> Iterator[Ranked]:
        """Yields tables as good as a candidate that use no more, with the waits assumed for it."""
        used = rounded_up(ledger.others_bits(demand), 3)
        for one in self._narrowed(demand, replace(chosen.problem, uplink_used=used), chosen):
            if as_good_as(one, chosen) and _takes_no_more(one, chosen):
                yield one

    def _narrowed(self, demand: PoolDemand, crowded: EntryProblem, chosen: Costed) -> Iterator[Ranked]:
        """Yields tables that use no more than a candidate, the best first.

        First with all local routes beside it, then without, then shorter, since each route takes memory, and
        last with the candidate alone.
        """
        every = self.questions.candidates(crowded)
        small = no_more_than(every, chosen)
        itself = np.array([every.name(index) == chosen.name for index in range(len(every))])
        home = np.zeros(len(every), dtype=np.bool_)
        least = smallest_local(every)
        if least is not None:
            home[least] = True
        tries = [
            (crowded, small | every.local),
            (crowded, small | home),
            *((_shorter(crowded, most), small | home) for most in (3, 2)),
            (crowded, small),
            (crowded, itself | home),
            (crowded, itself),
        ]
        for one, mask in tries:
            table = self._ranked(demand, one, mask) if mask.any() else None
            if table is not None:
                yield table

    def repacked(self, demand: PoolDemand, held: Ranked, ledger: Ledger) -> Iterator[Ranked]:
        """Yields tables of the same routes whose weights are packed at more nodes, at the most first."""
        routes = {route.name for route in held.plan.table.routes}
        for problem in demand.problems:
            if problem.peer == held.problem.peer and problem.unpacked < held.problem.unpacked:
                crowded = self.crowded(demand, problem, ledger)
                every = self.questions.candidates(crowded)
                same = np.array([every.name(index) in routes for index in range(len(every))])
                table = self._ranked(demand, crowded, same) if same.any() else None
                if table is not None:
                    yield table

    def kept(
        self, demand: PoolDemand, plan: Plan, server: str | None, reserved: Reservation, ledger: Ledger
    ) -> Ranked:
        """Returns a table of an earlier plan."""
        problem = self.crowded(demand, problem_at(demand, server, plan.table), ledger)
        return self._of(problem, plan, reserved)

    def again(self, demand: PoolDemand, plan: Plan, server: str | None, old: Reservation) -> Ranked:
        """Returns a table of an earlier plan, with what it reserves at the bandwidth that is measured now."""
        table = self._reserving(demand, self._loaded(demand, problem_at(demand, server, plan.table)), plan)
        waits = {place: old.waits.get(place, seconds) for place, seconds in table.reserved.waits.items()}
        return replace(table, reserved=replace(table.reserved, waits=waits))

    def standing(self, demand: PoolDemand, plan: Plan, server: str | None) -> Ranked:
        """Returns a published table, with the latencies of its routes as if there were no other demands.

        What is published includes waits for others, but does not say how long they are.
        """
        problem = self._loaded(demand, problem_at(demand, server, plan.table))
        every = self.questions.candidates(problem)
        names = {every.name(index): index for index in range(len(every))}
        least, thresholds = every.intercept, every.thresholds(problem.slo.latency)

        def alone(route: Route) -> Route:
            index = names.get(route.name)
            if index is None:
                return route
            met = float(thresholds[index])
            latency = float(least[index]) if route.cut is None else route.latency
            return replace(route, met_from=met if met <= problem.tables.high else None, latency=latency)

        table = replace(plan.table, routes=tuple(map(alone, plan.table.routes)))
        return self._reserving(demand, problem, replace(plan, table=table))

    def _loaded(self, demand: PoolDemand, problem: EntryProblem) -> EntryProblem:
        """Returns the problem at the demand's rate and its places' concurrency, without other demands."""
        if demand.assumed:
            return problem
        servers = self.servers.get(problem.peer, 1)
        return replace(
            problem,
            load=replace(problem.load, rate=demand.rate),
            remote_load=replace(problem.remote_load, rate=demand.rate, servers=servers),
            intermediates=tuple(
                replace(one, load=replace(one.load, rate=demand.rate)) for one in problem.intermediates
            ),
        )

    def crowded(self, demand: PoolDemand, problem: EntryProblem, ledger: Ledger) -> EntryProblem:
        """Returns the problem at the demand's rate, with the requests and bits of all others."""
        loaded = self._loaded(demand, problem)

        def load(one: Load, place: str) -> Load:
            others = rounded(ledger.others(place, demand.name))
            if others is None:
                return one
            return replace(one, others=others, servers=self.servers.get(place, 1))

        return replace(
            loaded,
            load=load(loaded.load, loaded.node),
            remote_load=load(loaded.remote_load, loaded.peer),
            intermediates=tuple(replace(one, load=load(one.load, one.name)) for one in loaded.intermediates),
            uplink_used=rounded_up(ledger.others_bits(demand), 3),
        )

    def _ranked(self, demand: PoolDemand, problem: EntryProblem, mask: Mask | None = None) -> Ranked | None:
        plan = self.questions.plan(problem, mask)
        return None if isinstance(plan, Infeasible) else self._reserving(demand, problem, plan)

    def _reserving(self, demand: PoolDemand, problem: EntryProblem, plan: Plan) -> Ranked:
        bandwidth = planned_bandwidth(problem, self.uplinks)
        reserved = reservation(demand, problem, plan.table, bandwidth, self.runtime_memory, self.figures)
        return self._of(problem, plan, reserved)

    def _of(self, problem: EntryProblem, plan: Plan, reserved: Reservation) -> Ranked:
        bandwidth = planned_bandwidth(problem, self.uplinks)
        route = plan.table.at(bandwidth)
        met = route.met_from is not None and route.met_from <= bandwidth
        server = problem.peer if any(one.tail is not None for one in plan.table.routes) else None
        worth = route.accuracy if route.worth is None else route.worth
        return Ranked(problem, plan, server, reserved, met, worth)


def problem_at(demand: PoolDemand, server: str | None, table: RouteTable | None = None) -> EntryProblem:
    """Returns the problem with a Triton server, or the first one; with the packed weights of a table."""
    peer = next((one.peer for one in demand.problems if one.peer == server), demand.problems[0].peer)
    same = [one for one in demand.problems if one.peer == peer]
    return next((one for one in same if table is not None and packs_like(one, table)), same[0])


def _as_good(table: Ranked, other: Ranked) -> bool:
    """Returns whether a table is as good as another one, but for what a move costs in other bandwidths."""
    return (
        table.met >= other.met
        and table.worth >= other.worth - 1e-9
        and table.plan.table.accuracy >= other.plan.table.accuracy - MOVE_COST
    )


def close(old: Ranked, best: Ranked) -> bool:
    """Returns whether a table is as good as the best, or worse by less than a move costs."""
    if old.met != best.met:
        return old.met
    return (
        old.worth >= best.worth - MOVE_COST
        and old.plan.table.accuracy >= best.plan.table.accuracy - MOVE_COST
    )


def as_good_as(table: Ranked, chosen: Costed) -> bool:
    """Returns whether a table's planned route is as accurate in time as a candidate."""
    return not chosen.worth or (table.met and table.worth >= chosen.worth - 1e-9)


def no_busier(table: Ranked, chosen: Costed) -> bool:
    """Returns whether a table's planned route takes no more compute time anywhere, and the last is local."""
    return table.plan.table.routes[-1].cut is None and _takes_no_more(table, chosen)


def _takes_no_more(table: Ranked, chosen: Costed) -> bool:
    """Returns whether a table's planned route takes no more compute time anywhere."""
    most = chosen.reserved.uses
    return all(
        amount <= most.get(resource, 0.0) * (1 + 1e-6)
        for resource, amount in table.reserved.uses.items()
        if resource.kind in (Kind.CPU, Kind.BUSY)
    )


def _wait(others: Traffic | None, servers: int, slo: Slo) -> float:
    return 0.0 if others is None else wait((others,), servers, slo.percentile)


def _shorter(problem: EntryProblem, routes: int) -> EntryProblem:
    """Returns the problem with at most this many routes and no ladder, which takes less memory."""
    tables = replace(problem.tables, routes=min(routes, problem.tables.routes), ladder=0)
    return replace(problem, tables=tables)
