"""Plans all demands of a pool together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.plans import Infeasible
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.refusals import never, unfit
from edge_planning.pools.reservations import Reservation
from edge_planning.pools.results import Placed, PoolPlan, Refusal
from edge_planning.pools.tables import Ranked, Tables
from edge_planning.pools.values import PoolDemand, PoolProblem


def plan_pool(problem: PoolProblem, previous: PoolPlan | None = None) -> PoolPlan:
    """Returns a route table or a refusal for every demand, within the capacities of the pool.

    If nothing changed since the previous plan, that is returned. If every demand had what it wants, unchanged
    demands that still fit keep their tables. Otherwise everything is planned again. The order in which
    demands, nodes, servers and tenants are listed does not matter.
    """
    asked = _sorted(problem)
    if previous is not None and _hintless(asked) == _hintless(previous.problem):
        return replace(previous, moved=())
    planner = _Planner(asked)
    if previous is None or previous.contended or not planner.kept(previous):
        planner = _Planner(asked, planner.tables)
        if not planner.everything():
            planner = _Planner(asked, planner.tables)
            planner.contended()
    return planner.result(previous)


class _Planner:
    def __init__(self, problem: PoolProblem, tables: Tables | None = None) -> None:
        self.problem = problem
        self.capacity = capacities(problem, UPLINK_SHARE)
        self.ledger = Ledger(problem, self.capacity)
        self.tables = tables or Tables(
            problem.runtime_memory,
            {one.name: one.uplink for one in problem.nodes},
            {one.name: one.concurrency for one in problem.servers},
        )
        self.ranked: dict[str, Ranked] = {}
        self.entitled = {one.name: problem.entitlement(one.name) for one in problem.tenants}
        self.crowded = False
        self.order = _order(problem.demands)

    def kept(self, previous: PoolPlan) -> bool:
        """Keeps what did not change and plans the rest beside it; returns whether all have what they want."""
        before = {one.name: replace(one, server=None) for one in previous.problem.demands}
        changed: list[PoolDemand] = []
        for demand in self.order:
            placed = previous.placed.get(demand.name)
            same = placed is not None and before[demand.name] == replace(demand, server=None)
            if placed is None or not same or not self._known(placed) or self._full(placed.reservation):
                changed.append(demand)
                continue
            self.ledger.add(demand, placed.reservation, placed.allowed)
            self.ranked[demand.name] = Ranked(placed, (True, 0.0, 0.0, True))
        return all(self._wanted(demand) for demand in changed) and all(
            self.ledger.in_time(name) for name in self.ranked
        )

    def everything(self) -> bool:
        """Plans every demand as if alone, beside those before it; returns whether all have what they want."""
        return all(self._wanted(demand) for demand in self.order)

    def contended(self) -> None:
        """Plans a pool that cannot give every demand what it wants.

        First, each tenant within its entitlement, as if there were no others: the least for each demand, then
        better tables. Then what is left: the least for refused demands, then better tables, the tenant with
        the smallest dominant share first.
        """
        self.crowded = True
        for demand in self.order:
            least = self.tables.least(demand, self._within(demand), self._cost)
            self._take_least(demand, least)
        for demand in self.order:
            self._improve(demand, self._entitled(demand))
        for demand in self._by_share([one for one in self.order if one.name not in self.ranked]):
            self._take_least(demand, self.tables.least(demand, self._fits, self._cost))
        for demand in self._by_share(self.order):
            self._improve(demand, self._fits)

    def result(self, previous: PoolPlan | None) -> PoolPlan:
        placed = {
            name: replace(one.placed, allowed=self.ledger.allowed(name), in_time=self.ledger.in_time(name))
            for name, one in sorted(self.ranked.items())
        }
        refused = {one.name: self._refusal(one) for one in self.problem.demands if one.name not in placed}
        old = {} if previous is None else previous.placed
        moved = tuple(
            name
            for name in sorted({*old, *placed})
            if name in old
            and name in placed
            and (old[name].plan.table, old[name].server) != (placed[name].plan.table, placed[name].server)
        )
        return PoolPlan(self.problem, placed, refused, self.ledger.totals(), self.crowded, moved)

    def _wanted(self, demand: PoolDemand) -> bool:
        """Takes the demand's best table; returns False if it is worse than it would be alone."""
        alone = self.tables.best(demand, None, lambda _: True)
        if alone is None:
            return True
        best = self.tables.best(demand, self.ledger, self._fits)
        self._take(demand, best)
        return best is not None and best.rank[:2] >= alone.rank[:2]

    def _improve(self, demand: PoolDemand, admits: Callable[[Reservation], bool]) -> None:
        held = self.ranked.get(demand.name)
        if held is None:
            return
        rank = held.rank if self.ledger.in_time(demand.name) else (False, *held.rank[1:])
        allowed = self.ledger.allowed(demand.name)
        self.ledger.remove(demand.name)
        best = self.tables.best(demand, self.ledger, admits)
        if best is not None and best.rank > rank:
            self._take(demand, best)
        else:
            self.ledger.add(demand, held.placed.reservation, allowed)

    def _take(self, demand: PoolDemand, ranked: Ranked | None) -> None:
        if ranked is not None:
            self.ledger.add(demand, ranked.placed.reservation)
            self.ranked[demand.name] = ranked

    def _take_least(self, demand: PoolDemand, ranked: Ranked | None) -> None:
        if ranked is not None:
            reserved = ranked.placed.reservation  # was planned without the others' requests
            self.ledger.add(demand, reserved, self.ledger.allowed_alone(reserved))
            self.ranked[demand.name] = ranked

    def _fits(self, reserved: Reservation) -> bool:
        return self.ledger.binding(reserved) is None and self.ledger.late(reserved) is None

    def _full(self, reserved: Reservation) -> bool:
        return self.ledger.binding(reserved) is not None

    def _within(self, demand: PoolDemand) -> Callable[[Reservation], bool]:
        tenant, share = demand.tenant, self.entitled[demand.tenant]
        return lambda reserved: self.ledger.binding(reserved, tenant, share) is None

    def _entitled(self, demand: PoolDemand) -> Callable[[Reservation], bool]:
        within = self._within(demand)
        return lambda reserved: within(reserved) and self._fits(reserved)

    def _cost(self, reserved: Reservation) -> float:
        """Returns the largest share of any one resource that a reservation adds."""
        resources = sorted({*reserved.uses, *(part.memory for part in reserved.parts)})
        asked = ((one, self.ledger.asked(one, reserved)) for one in resources)
        return max((more / self.capacity[one] for one, more in asked if more > 0), default=0.0)

    def _known(self, placed: Placed) -> bool:
        reserved = placed.reservation
        return all(
            one in self.capacity for one in (*reserved.uses, *(part.memory for part in reserved.parts))
        )

    def _by_share(self, demands: Sequence[PoolDemand]) -> list[PoolDemand]:
        """Returns demands in rounds, one of each tenant, the smallest weighted dominant share first."""
        share = {one: self.ledger.dominant_share(one) / part for one, part in self.entitled.items()}
        turn: dict[str, int] = {}
        places = {}
        for demand in demands:
            turn[demand.tenant] = turn.get(demand.tenant, 0) + 1
            places[demand.name] = turn[demand.tenant]
        return sorted(demands, key=lambda one: (places[one.name], share[one.tenant], one.tenant, one.name))

    def _refusal(self, demand: PoolDemand) -> Refusal:
        least = self.tables.least(demand, lambda _: True, self._cost)
        if least is not None:
            return unfit(demand, least.placed.reservation, self.ledger)
        one = demand.problems[0]
        answer = self.tables.answer(self.tables.alone(demand, one))
        return never(demand, answer if isinstance(answer, Infeasible) else Infeasible((), None))


def _order(demands: Sequence[PoolDemand]) -> list[PoolDemand]:
    """Returns the demands of each tenant by priority, highest first, and the tenants in turn."""
    turn: dict[str, int] = {}
    places: dict[str, int] = {}
    for demand in sorted(demands, key=lambda one: (-one.priority, one.name)):
        turn[demand.tenant] = turn.get(demand.tenant, 0) + 1
        places[demand.name] = turn[demand.tenant]
    return sorted(demands, key=lambda one: (places[one.name], one.tenant))


def _sorted(problem: PoolProblem) -> PoolProblem:
    return replace(
        problem,
        nodes=tuple(sorted(problem.nodes, key=lambda one: one.name)),
        servers=tuple(sorted(problem.servers, key=lambda one: one.name)),
        tenants=tuple(sorted(problem.tenants, key=lambda one: one.name)),
        demands=tuple(
            replace(one, problems=tuple(sorted(one.problems, key=lambda each: each.peer)))
            for one in sorted(problem.demands, key=lambda one: one.name)
        ),
    )


def _hintless(problem: PoolProblem) -> PoolProblem:
    """Returns the problem without the servers in use, which a plan itself changes."""
    return replace(problem, demands=tuple(replace(one, server=None) for one in problem.demands))
