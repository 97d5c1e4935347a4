"""The joint choice for demands that cannot all have what they want: candidates, within capacities and waits.

The waits at a place depend on who uses it, and who uses it on the waits. So the choice is made several times:
each time with the waits that the last choice causes, and with at most BUSY of the compute time of every
place. Of all choices the best counts, judged with the waits that it causes itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from edge_planning.pools.accounts import Accounts, claims, sharing_tenants
from edge_planning.pools.costed import Costed, Costs, Waits
from edge_planning.pools.exchanges import FEW, Exchanges
from edge_planning.pools.held import Held
from edge_planning.pools.joint import Asking, asking, joint_choice, sharers
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.packings import packs_like
from edge_planning.pools.reservations import Kind, Part, Reservation, Resource
from edge_planning.pools.units import Score, Unit, score
from edge_planning.pools.values import PoolDemand, PoolProblem
from edge_planning.pools.waiting import wait
from edge_planning.problems import Traffic

BUSY = 0.8
"""Part of a place's compute time that the joint choice uses: beyond, waits grow without bound."""
ROUNDS = 3

Choice = dict[str, Costed]


@dataclass(frozen=True, slots=True)
class _Tried:
    """A demand in one round.

    Its candidates are rebuilt where they are needed: kept, they take 20 KB for each demand.

    Attributes:
        waits: With which its candidates were made.
        kept: Their positions among all: those that fit.
    """

    asking: Asking
    waits: Waits
    kept: tuple[int, ...]

    @property
    def demand(self) -> PoolDemand:
        return self.asking.demand

    @property
    def count(self) -> int:
        return self.asking.count


class Contention:
    """Makes joint choices for one pool.

    Attributes:
        limits: How much of each resource they use.
        moves: How many demands can leave their candidates for accuracy alone; None: any number.
        spent: How many did in the last choice.
        waiting: Demands for which that did not suffice.
    """

    def __init__(
        self,
        problem: PoolProblem,
        costs: Costs,
        capacity: Mapping[Resource, float],
        moves: int | None = None,
    ) -> None:
        self.moves = moves
        self.spent = 0
        self.waiting: frozenset[str] = frozenset()
        self.costs = costs
        self.servers = {one.name: one.concurrency for one in problem.servers}
        self.places = [*(one.name for one in problem.nodes), *self.servers]
        self.limits = plannable(problem, capacity)
        self.tenants = sharing_tenants(problem, self.limits) if problem.entitled else problem.owners

    def choose(
        self, units: Sequence[Unit], ledger: Ledger, wanted: Mapping[str, Reservation]
    ) -> tuple[Choice, Score]:
        """Returns a candidate for each demand that is not refused, and the score of this choice.

        ledger: What other demands hold; unchanged afterwards.
        wanted: What each demand would hold without others.
        """
        waits = self._caused(units, ledger, wanted)
        shared_by: Mapping[Part, int] | None = None
        chosen: dict[str, Reservation] | None = None
        best: tuple[Score, Choice] | None = None
        self.spent, self.waiting = 0, frozenset()
        for _ in range(ROUNDS):
            tried = [one for unit in units if len((one := self._tried(unit, waits, ledger)).kept)]
            if not tried:
                break
            every = [one.asking for one in tried]
            picked, spent, waiting = joint_choice(
                every,
                self.tenants,
                ledger,
                self.limits,
                shared_by if shared_by is not None else sharers(every),
                chosen,
                moves=self.moves,
            )
            choice = {
                one.demand.name: self._costed(one, [one.kept[at]])[0]
                for one, at in zip(tried, picked, strict=True)
                if at >= 0
            }
            choice, result = self._repaired(units, tried, choice, ledger)
            if best is None or result < best[0]:
                best = result, choice
                self.spent, self.waiting = spent, waiting
            chosen = {name: one.reserved for name, one in choice.items()}
            shared_by = sharers(every, chosen)
            del tried, every
            before, waits = waits, self._caused(units, ledger, chosen)
            if waits == before:
                break
        result, choice = best if best is not None else (score(units, {}, ledger), {})
        few = len(units) <= FEW and not self.waiting
        return self._exchanged(units, choice, ledger) if few else (choice, result)

    def _exchanged(self, units: Sequence[Unit], choice: Choice, ledger: Ledger) -> tuple[Choice, Score]:
        """Returns the choice after the exchanges that improve it, and its score."""
        costed = {unit.name: self.costs.costed(unit.demand, {}) for unit in units}
        for unit in units:
            if unit.name in choice:
                ledger.add(Held(unit.demand, choice[unit.name].reserved, unit.count))
        limits = None if ledger.accounts is None else self.limits
        return Exchanges(units, costed, ledger, limits).improved(choice)

    def waits(self, ledger: Ledger, percentile: float) -> dict[str, float]:
        """Returns the waits at every place with what is held, at BUSY at most."""
        found: dict[str, float] = {}
        for place in self.places:
            total = ledger.traffic(place)
            if total is None:
                continue
            busy = total.rate * total.seconds
            kind = Kind.BUSY if place in self.servers else Kind.CPU
            most = self.limits[Resource(kind, place)]
            if busy > most:
                total = Traffic(total.rate * most / busy, total.seconds, total.variance)
            seconds = wait((total,), self.servers.get(place, 1), percentile) if most else 0.0
            if seconds:
                found[place] = seconds
        return found

    def _caused(
        self, units: Sequence[Unit], ledger: Ledger, chosen: Mapping[str, Reservation]
    ) -> dict[float, dict[str, float]]:
        """Returns the waits by percentile that these reservations cause."""
        added = [unit for unit in units if unit.name in chosen]
        for unit in added:
            ledger.add(Held(unit.demand, chosen[unit.name], unit.count))
        percentiles = sorted({one.slo.percentile for unit in units for one in unit.demand.problems})
        found = {one: self.waits(ledger, one) for one in percentiles}
        for unit in added:
            ledger.remove(unit.name)
        return found

    def _tried(self, unit: Unit, waits: Mapping[float, Waits], ledger: Ledger) -> _Tried:
        demand = unit.demand
        mine = waits[demand.problems[0].slo.percentile]
        every = self.costs.costed(demand, mine)
        kept = tuple(
            number for number, one in enumerate(every) if ledger.fits(Held(demand, one.reserved, unit.count))
        )
        costed = [every[number] for number in kept]
        current = None
        if unit.old is not None:
            first = self.costs.planned_name(demand, unit.old.plan.table)
            same = (
                number
                for number, one in enumerate(costed)
                if (one.name, one.server) == (first, unit.old.server)
                and packs_like(one.problem, unit.old.plan.table)
            )
            current = next(same, None)
        return _Tried(asking(demand, costed, unit.count, current), mine, kept)

    def _costed(self, one: _Tried, positions: Sequence[int] | None = None) -> list[Costed]:
        """Returns the candidates of a demand that fit, or those at some positions among all."""
        return self.costs.costed(one.demand, one.waits, only=one.kept if positions is None else positions)

    def _repaired(
        self, units: Sequence[Unit], tried: Sequence[_Tried], choice: Choice, ledger: Ledger
    ) -> tuple[Choice, Score]:
        """Returns a choice that fits exactly, and its score; tries late and refused demands once more."""
        found = dict(choice)
        for one in tried:
            if one.demand.name in found:
                ledger.add(Held(one.demand, found[one.demand.name].reserved, one.count))
        for resource in ledger.overfull():
            self._relieve(resource, tried, found, ledger)
        urgent = sorted(tried, key=lambda one: (-one.demand.priority, one.demand.name))
        for one in urgent:
            held = found.get(one.demand.name)
            if held is not None and (not held.worth or ledger.in_time(one.demand.name)):
                continue
            self._retried(one, found, ledger)
        result = score(units, {name: one.worth for name, one in found.items()}, ledger)
        for name in found:
            ledger.remove(name)
        return found, result

    def _relieve(self, resource: Resource, tried: Sequence[_Tried], found: Choice, ledger: Ledger) -> None:
        """Moves or refuses demands until a resource suffices: of tenants that borrow it, then by priority."""
        size = dict(ledger.users(resource))
        users = [one for one in tried if size.get(one.demand.name)]
        users.sort(
            key=lambda one: (
                not ledger.borrows(one.demand.owner, resource),
                one.demand.priority,
                -size[one.demand.name],
                one.demand.name,
            )
        )
        for one in users:
            if resource not in ledger.overfull():
                return
            ledger.remove(one.demand.name)
            del found[one.demand.name]
            elsewhere = [each for each in self._costed(one) if not _uses(each, resource)]
            self._first_fitting(one, elsewhere, found, ledger)

    def _retried(self, one: _Tried, found: Choice, ledger: Ledger) -> None:
        """Takes the best candidate that fits and is in time, if there is one; else keeps what is held."""
        held = found.pop(one.demand.name, None)
        if held is not None:
            ledger.remove(one.demand.name)
        costed = self._costed(one)
        timely = [each for each in costed if each.worth]
        if self._first_fitting(one, timely, found, ledger, timely=True):
            return
        if held is not None:
            found[one.demand.name] = held
            ledger.add(Held(one.demand, held.reserved, one.count))
        else:
            self._first_fitting(one, costed, found, ledger)

    def _first_fitting(
        self,
        one: _Tried,
        costed: Iterable[Costed],
        found: Choice,
        ledger: Ledger,
        *,
        timely: bool = False,
    ) -> bool:
        for each in costed:
            held = Held(one.demand, each.reserved, one.count)
            if not ledger.fits(held, self.limits if ledger.accounts is not None else None):
                continue
            ledger.add(held)
            if not timely or ledger.in_time(one.demand.name):
                found[one.demand.name] = each
                return True
            ledger.remove(one.demand.name)
        return False


def plannable(problem: PoolProblem, capacity: Mapping[Resource, float]) -> dict[Resource, float]:
    """Returns how much of every resource the joint choice uses, which is what tenants are entitled to."""
    servers = {one.name: one.concurrency for one in problem.servers}
    queued = {
        place
        for demand in problem.demands
        if not demand.assumed or (problem.entitled and demand.observed is not None)
        for place in demand.places
    }
    return {
        resource: bounded(resource, amount, servers) if resource.place in queued else amount
        for resource, amount in capacity.items()
    }


def accounts_of(
    problem: PoolProblem,
    capacity: Mapping[Resource, float],
    measured: Mapping[tuple[str, Resource], float] = MappingProxyType({}),
) -> Accounts | None:
    """Returns the accounts of tenants that share by entitlement; None if they do not.

    measured: What measured requests of tenants would take beyond what is reserved.
    """
    if not problem.entitled:
        return None
    return Accounts(claims(problem, plannable(problem, capacity), measured), capacity)


def bounded(resource: Resource, amount: float, servers: Mapping[str, int]) -> float:
    """Returns how much of a resource requests can use so that their waits stay bounded.

    servers: Requests that a Triton server computes at a time.
    """
    timed = resource.kind in (Kind.CPU, Kind.BUSY)
    return min(amount, BUSY * servers.get(resource.place, 1)) if timed else amount


def _uses(one: Costed, resource: Resource) -> bool:
    return resource in one.reserved.uses or any(part.memory == resource for part in one.reserved.parts)
