"""A planned pool: what a demand uses of each resource, and what it could have instead, beside all others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.pools.contention import accounts_of
from edge_planning.pools.costed import Costs, waiting
from edge_planning.pools.crowding import Crowding
from edge_planning.pools.figures import Figures
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.refusals import blocked
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.results import PoolPlan, Refusal
from edge_planning.pools.tables import Tables, problem_at
from edge_planning.pools.values import PoolDemand
from edge_planning.pools.waiting import rounded_up
from edge_planning.problems import EntryProblem

_ALL = 0.999
"""Part of the measured requests from which all of them count as fitting."""


@dataclass(frozen=True, slots=True)
class Use:
    """Amounts of a resource: of one demand, of all demands, and what there is.

    In compute seconds per second, bytes or bit/s: what is reserved, and what measured requests take beside
    it. What a demand shares with others counts for each of them.
    """

    resource: Resource
    own: float
    used: float
    capacity: float


@dataclass(frozen=True, slots=True)
class Counted:
    """Measured requests per second of which only a part fits beside all others, and what binds."""

    measured: float
    fitting: float
    resource: Resource


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The candidates of a demand beside the tables of all others.

    Attributes:
        problem: With the demand's rate, and with the requests and bits of all others. Those that are only
            measured count if they can make the demand move.
        unfit: What each candidate that does not fit has too little of, by its name.
    """

    problem: EntryProblem
    unfit: Mapping[str, Refusal]


class Occupancy:
    """What all demands of a plan hold. Cost: the demands, once."""

    def __init__(self, plan: PoolPlan) -> None:
        problem = plan.problem
        self._placed = plan.placed
        self._demands = {one.name: one for one in problem.demands}
        capacity = capacities(problem, UPLINK_SHARE)
        self._ledger = Ledger(problem, capacity, accounts_of(problem, capacity))
        self._crowding = Crowding(problem, self._ledger, capacity)
        for name, placed in plan.placed.items():
            self._ledger.add(Held(self._demands[name], placed.reservation))
        uplinks = {one.name: one.uplink for one in problem.nodes}
        memory = {one.name: one.memory for one in problem.nodes}
        servers = {one.name: one.concurrency for one in problem.servers}
        figures = Figures()
        self._tables = Tables(plan.questions, figures, uplinks, servers, problem.runtime_memory)
        self._costs = Costs(plan.questions, figures, uplinks, memory, problem.runtime_memory)

    def uses(self, name: str) -> tuple[Use, ...]:
        """Returns the resources that a demand uses; none if it is refused."""
        if name not in self._placed:
            return ()
        reserved, ledger = self._placed[name].reservation, self._ledger
        resources = {*reserved.uses, *(part.memory for part in reserved.parts)}
        found = []
        for one in sorted(resources):
            users = self._crowding.used(one)
            # Demands share memory, so what each has adds up to more.
            total = ledger.used(one) if one.kind is Kind.MEMORY else sum(users.values())
            if users.get(name, 0.0) > 0:
                found.append(Use(one, users[name], total, ledger.capacity[one]))
        return tuple(found)

    def counted(self, name: str) -> Counted | None:
        """Returns what of a demand's measured requests fits; None if all of them do, or none are measured."""
        demand = self._demands[name]
        if demand.observed is None or name not in self._placed:
            return None
        held = self._ledger.held[name]
        parts = {
            resource: self._crowding.used(resource)[name] / self._crowding.wanted(held, resource)
            for resource, _ in held.uses()
        }
        least = min(sorted(parts), key=lambda one: parts[one], default=None)
        if least is None or parts[least] > _ALL:
            return None
        return Counted(demand.observed.rate, demand.observed.rate * parts[least], least)

    def alternatives(self, name: str, server: str | None) -> Alternatives:
        """Returns the candidates of a demand with a Triton server, or with the first one."""
        demand, ledger = self._demands[name], self._ledger
        table = self._placed[name].plan.table if name in self._placed else None
        problem = problem_at(demand, server, table)
        crowded = self._crowded(demand, problem)
        every = self._costs.costed(replace(demand, problems=(problem,)), {}, every=True)
        with ledger.without([name] if name in ledger.held else []):
            unfit = {
                one.name: blocked(demand, 1, one, ledger)
                for one in every
                if not ledger.fits(Held(demand, one.reserved))
            }
        return Alternatives(crowded, unfit)

    def _crowded(self, demand: PoolDemand, problem: EntryProblem) -> EntryProblem:
        """Returns the problem beside all others, as tables of the plan were chosen for it."""
        reserved = self._tables.crowded(demand, problem, self._ledger)
        if not (demand.assumed and self._crowding.exposed(demand)):
            return reserved
        percentile = problem.slo.percentile
        waits = {
            place: rounded_up(self._crowding.others_wait(place, demand, percentile), 3)
            for place in sorted(demand.places & self._crowding.places)
        }
        return replace(waiting(problem, waits), uplink_used=reserved.uplink_used)
