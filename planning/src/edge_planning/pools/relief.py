"""Moves demands that are late because of the measured requests of others.

The tables are those of a plan in which only reservations count. A demand without a declared rate takes
another one if that is in time and makes no other demand late. One with a declared rate keeps its table: those
beside it whose rates are measured make room.

If tenants share by entitlement, demands of tenants that borrow make room first, whatever is known of their
rates. None makes room for a tenant that borrows if its own does not.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from edge_planning.pools.accounts import TOLERANCE
from edge_planning.pools.chosen import Chosen
from edge_planning.pools.costed import Costs
from edge_planning.pools.crowding import Crowding
from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.pools.tables import Ranked, Tables
from edge_planning.pools.units import Unit
from edge_planning.pools.waiting import rounded_up

ATTEMPTS = 20
"""Demands at a place that move without being in time then, after which the others there keep their tables."""


class Relief:
    """Moves demands of one plan."""

    def __init__(
        self, crowding: Crowding, costs: Costs, tables: Tables, units: Sequence[Unit], chosen: Chosen
    ) -> None:
        self.crowding, self.ledger = crowding, crowding.ledger
        self.costs, self.tables = costs, tables
        self.units, self.chosen = units, chosen
        self.waits = True
        """Whether candidates must be in time beside others as they are."""
        self.content: set[str] = set()
        """Demands that are in time, and must remain so; not those that are whatever the others do."""

    def relieve(self, tried: Collection[str] = ()) -> None:
        """Moves demands, the last ones by priority and name first; none if no more are in time then.

        tried: Those that an earlier plan could not help, at whose places nothing has changed.
        """
        if not self.crowding.measured:
            return
        if self.ledger.accounts is not None:
            # Their waits are those of all that they borrow, so each moves as if the others had moved.
            self.waits = False
            self._relieve(self._owed_by_borrowers, tried)
            self.waits = True
        self._relieve(self._owed, tried)

    def _relieve(
        self, owing: Callable[[Sequence[Unit]], dict[str, tuple[str, ...]]], tried: Collection[str]
    ) -> None:
        placed = [unit for unit in self.units if unit.name in self.chosen]
        late = [unit for unit in placed if self._crowded(unit)]
        owed = owing(late)
        movers = [unit for unit in placed if unit.name in owed and unit.name not in tried]
        if not movers:
            return
        exposed = [unit for unit in placed if self.crowding.exposed(unit.demand)]
        self.content = {unit.name for unit in exposed if self.crowding.in_time(unit.name)}
        first, before = {unit.name: self.chosen[unit.name] for unit in movers}, len(self.content)
        failed: Counter[object] = Counter()
        for unit in reversed(movers):
            if not all(map(self.crowding.in_time, owed[unit.name])):
                place = self.crowding.short(unit.name) or unit.demand.node
                if failed[place] < ATTEMPTS:
                    failed[place] += not self._make_room(unit, owed[unit.name])
        self.content |= {unit.name for unit in exposed if self.crowding.in_time(unit.name)}
        for unit in movers:
            if len(self.content) > before:
                self._restore(unit, first[unit.name])
            else:
                self._put(unit, first[unit.name])

    def _crowded(self, unit: Unit) -> bool:
        return self.ledger.in_time(unit.name) and not self.crowding.in_time(unit.name)

    def _owed(self, late: Sequence[Unit]) -> dict[str, tuple[str, ...]]:
        """Returns the demands for which each one moves, by its name: itself, or those that declare a rate."""
        found: dict[str, tuple[str, ...]] = {}
        for unit in late:
            if unit.demand.assumed:
                found[unit.name] = (*found.get(unit.name, ()), unit.name)
                continue
            for resource in self._timed(unit):
                for name in self.crowding.taken(resource):
                    owner = self.ledger.held[name].demand.owner
                    if self._borrows(owner, resource) or not self._borrows(unit.demand.owner, resource):
                        found[name] = (*found.get(name, ()), unit.name)
        return found

    def _owed_by_borrowers(self, late: Sequence[Unit]) -> dict[str, tuple[str, ...]]:
        """Returns the same for demands of tenants that borrow where requests are late."""
        found: dict[str, tuple[str, ...]] = {}
        for unit in late:
            for resource in self._timed(unit):
                for name, _ in self.ledger.users(resource):
                    if self._borrows(self.ledger.held[name].demand.owner, resource):
                        found[name] = (*found.get(name, ()), unit.name)
        return found

    def _timed(self, unit: Unit) -> list[Resource]:
        """Returns the places' time that a demand uses, for which its requests wait."""
        return [one for one in sorted(self.chosen[unit.name].reserved.uses) if one.kind is not Kind.UPLINK]

    def _borrows(self, owner: str, resource: Resource) -> bool:
        """Returns whether a tenant uses more than it is entitled to, measured requests included."""
        accounts = self.ledger.accounts
        if accounts is None:
            return False
        taken = self.crowding.taken(resource).items()
        more = sum(amount for name, amount in taken if self.ledger.held[name].demand.owner == owner)
        used = accounts.used(owner, resource) + more
        return used > accounts.claim(owner, resource).nominal * (1 + TOLERANCE)

    def _make_room(self, unit: Unit, owed: Iterable[str]) -> bool:
        """Takes the best table with which those are in time, or else the one that takes the least.

        Returns whether they are in time.
        """
        old, tables = self.chosen[unit.name], self._tables(unit)
        for table in tables:
            self._put(unit, table)
            if all(map(self.crowding.in_time, owed)) and self._undisturbed(unit, old):
                self.content |= {*owed}
                return True
        for table in sorted((old, *tables), key=lambda one: self._load(unit, one)):
            self._put(unit, table)
            if table is old or self._undisturbed(unit, old):
                break
        return False

    def _restore(self, unit: Unit, first: Ranked) -> None:
        """Takes the best table with which all that are in time remain so."""
        now = self.chosen[unit.name]
        if now is first:
            return
        for table in (first, *self._tables(unit)):
            if table.rank > now.rank:
                self._put(unit, table)
                if self._undisturbed(unit, now):
                    return
        self._put(unit, now)

    def _tables(self, unit: Unit) -> Sequence[Ranked]:
        """Returns the tables of the candidates that fit and are in time beside others, the best first.

        Without those with which the demand could serve less of its own requests than now.
        """
        demand = unit.demand
        percentile = demand.problems[0].slo.percentile
        waits = {
            place: rounded_up(self.crowding.others_wait(place, demand, percentile), 3)
            for place in sorted(demand.places & self.crowding.places)
            if self.waits
        }
        now = self.chosen[unit.name]
        most = max(self._load(unit, now), 1.0) * (1 + 1e-9)
        self.chosen.drop(unit)
        found = []
        for one in self.costs.costed(demand, waits):
            if one.worth and self.ledger.fits(Held(demand, one.reserved, unit.count)):
                table = next(
                    (
                        each
                        for each in self.tables.within(demand, one, self.ledger)
                        if self.ledger.fits(Held(demand, each.reserved, unit.count))
                    ),
                    None,
                )
                if table is not None and self._load(unit, table) <= most:
                    found.append(table)
        self.chosen.take(unit, now)
        return found

    def _undisturbed(self, unit: Unit, before: Ranked) -> bool:
        """Returns whether all that were in time are, of those that use what one demand uses or used."""
        concerned = {
            name
            for resource in {*before.reserved.uses, *self.chosen[unit.name].reserved.uses}
            for name, _ in self.ledger.users(resource)
        }
        return all(self.crowding.in_time(name) for name in sorted(concerned & self.content))

    def _load(self, unit: Unit, table: Ranked) -> float:
        """Returns the largest share of a resource that a demand wants; above 1, requests are left over."""
        held = Held(unit.demand, table.reserved, unit.count)
        return max(
            (
                self.crowding.wanted(held, one) / self.crowding.limits[one]
                for one in table.reserved.uses
                if self.crowding.limits[one]
            ),
            default=0.0,
        )

    def _put(self, unit: Unit, table: Ranked) -> None:
        if self.chosen[unit.name] is not table:
            self.chosen.drop(unit)
            self.chosen.take(unit, table)
