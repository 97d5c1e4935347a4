"""Improves the choice of a small pool by exchanges of candidates, judged with the waits that they cause.

The joint choice assumes waits, and repairs one demand at a time. In a pool of a few demands much depends on
each, so moves of single demands are tried, and for a demand that is refused or late also moves of pairs. No
exchange takes accuracy from another tenant, since the joint choice decides what each is entitled to. If
tenants share by entitlement, an exchange is one of a single tenant, which borrows no more by it.
"""

from collections.abc import Mapping, Sequence

from edge_planning.pools.accounts import TOLERANCE
from edge_planning.pools.costed import Costed
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.reservations import Resource
from edge_planning.pools.units import Score, Unit, score

FEW = 40
"""Demands of a pool that is searched."""
TRIALS = 4000


class Exchanges:
    """A search from one choice."""

    def __init__(
        self,
        units: Sequence[Unit],
        costed: Mapping[str, Sequence[Costed]],
        ledger: Ledger,
        limits: Mapping[Resource, float] | None = None,
    ) -> None:
        """limits: Of resources, in place of the ledger's capacities."""
        self.owners = {unit.name: unit.demand.owner for unit in units}
        self.limits = limits
        self.units = units
        self.costed = costed
        self.ledger = ledger
        self.left = TRIALS

    def improved(self, choice: Mapping[str, Costed]) -> tuple[dict[str, Costed], Score]:
        """Returns the best choice found, and its score.

        The ledger holds the choice before and nothing of it afterwards.
        """
        found = dict(choice)
        reached = self._score(found)
        while self.left > 0:
            better = self._step(found, reached)
            if better is None:
                break
            reached = better
        for name in found:
            self.ledger.remove(name)
        return found, reached

    def _step(self, found: dict[str, Costed], reached: Score) -> Score | None:
        """Makes the first exchange that improves the score, and returns the new one; None if none does."""
        for unit in self.units:
            for one in self.costed[unit.name]:
                better = self._tried({unit.name: one}, found, reached)
                if better is not None:
                    return better
        for unit in self.units:
            if unit.name in found and found[unit.name].worth and self.ledger.in_time(unit.name):
                continue
            for other in self.units:
                if other.name == unit.name or not other.demand.places & unit.demand.places:
                    continue
                if self.ledger.accounts is not None and self.owners[other.name] != self.owners[unit.name]:
                    continue
                for one in self.costed[unit.name]:
                    for two in (*self.costed[other.name], None):
                        better = self._tried({unit.name: one, other.name: two}, found, reached)
                        if better is not None:
                            return better
        return None

    def _tried(
        self, exchange: Mapping[str, Costed | None], found: dict[str, Costed], reached: Score
    ) -> Score | None:
        """Makes an exchange if it improves the score; returns the new score then."""
        if self.left <= 0 or all(found.get(name) is one for name, one in exchange.items()):
            return None
        self.left -= 1
        before = {name: found[name] for name in exchange if name in found}
        gains, borrowed = self._gains(found), self._borrowed(exchange)
        for name in before:
            self.ledger.remove(name)
        if self._take(exchange) and not self._borrows_more(exchange, borrowed):
            merged: dict[str, Costed | None] = {**found, **exchange}
            trial = {name: one for name, one in merged.items() if one is not None}
            now = self._score(trial)
            if now < reached and self._fair(exchange, trial, gains):
                found.clear()
                found.update(trial)
                return now
        for name in exchange:
            if name in self.ledger.held:
                self.ledger.remove(name)
        for unit in self.units:
            if unit.name in before:
                self.ledger.add(Held(unit.demand, before[unit.name].reserved, unit.count))
        return None

    def _take(self, exchange: Mapping[str, Costed | None]) -> bool:
        """Reserves candidates, and returns whether all fit; stops at the first that does not."""
        for unit in self.units:
            one = exchange.get(unit.name)
            if one is not None:
                held = Held(unit.demand, one.reserved, unit.count)
                if not self.ledger.fits(held, self.limits):
                    return False
                self.ledger.add(held)
        return True

    def _borrowed(self, exchange: Mapping[str, Costed | None]) -> dict[Resource, float]:
        """Returns how much the tenant of an exchange borrows of each resource that its demands would use."""
        accounts = self.ledger.accounts
        if accounts is None:
            return {}
        owner = self.owners[next(iter(exchange))]
        resources = {
            resource for one in exchange.values() if one is not None for resource in one.reserved.resources
        }
        return {
            one: max(accounts.used(owner, one) - accounts.claim(owner, one).nominal, 0.0) for one in resources
        }

    def _borrows_more(self, exchange: Mapping[str, Costed | None], before: Mapping[Resource, float]) -> bool:
        now = self._borrowed(exchange)
        return any(now[one] > less + TOLERANCE * self.ledger.capacity[one] for one, less in before.items())

    def _fair(
        self, exchange: Mapping[str, Costed | None], trial: Mapping[str, Costed], before: Mapping[str, float]
    ) -> bool:
        """Returns whether only the tenant of the first demand of an exchange can lose by it."""
        first = next(iter(exchange))
        own = next(unit.demand.owner for unit in self.units if unit.name == first)
        after = self._gains(trial)
        return all(after[name] >= gain - 1e-9 for name, gain in before.items() if name != own)

    def _gains(self, choice: Mapping[str, Costed]) -> dict[str, float]:
        """Returns the accuracy in time of each tenant, weighted."""
        found: dict[str, float] = {}
        for unit in self.units:
            held = choice.get(unit.name)
            timely = held is not None and self.ledger.in_time(unit.name)
            gain = unit.weight * held.worth if held is not None and timely else 0.0
            found[unit.demand.owner] = found.get(unit.demand.owner, 0.0) + gain
        return found

    def _score(self, choice: Mapping[str, Costed]) -> Score:
        return score(self.units, {name: one.worth for name, one in choice.items()}, self.ledger)
