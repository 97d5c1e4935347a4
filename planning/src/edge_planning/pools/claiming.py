"""Takes back what tenants borrow, where another one lacks something within its entitlement.

A joint choice charges each demand a part of the memory that several use, and places are then filled exactly.
What that leaves to a tenant can be less than it is entitled to. Each demand that lacks something then claims
the best candidate with which its tenant stays within its entitlement: demands of tenants that borrow what
binds give way. They step down, and are refused only if that does not suffice.
"""

from collections.abc import Callable, Mapping, Sequence

from edge_planning.pools.chosen import Chosen
from edge_planning.pools.costed import Costed, Costs
from edge_planning.pools.held import Held
from edge_planning.pools.joint import MOVE_COST
from edge_planning.pools.reservations import Resource
from edge_planning.pools.tables import Ranked
from edge_planning.pools.units import Unit

GIVING = 8
"""Demands that give way for one claim, at most."""


class Claiming:
    """Makes the claims of one plan."""

    def __init__(
        self,
        costs: Costs,
        units: Sequence[Unit],
        chosen: Chosen,
        limits: Mapping[Resource, float],
        take: Callable[[Unit, Costed], None],
    ) -> None:
        """units: by priority. limits: how much of each resource is used. take: a table for a candidate."""
        assert chosen.ledger.accounts is not None
        self.ledger, self.accounts = chosen.ledger, chosen.ledger.accounts
        self.costs, self.units, self.chosen, self.limits, self.take = costs, units, chosen, limits, take
        self.named = {unit.name: unit for unit in units}

    def claim(self, lacking: Callable[[Unit], bool]) -> list[Unit]:
        """Gives demands what they lack within the entitlement of their tenants, the first by priority first.

        Returns the demands that are refused for it. lacking: Whether a demand has less than it would have
        alone.
        """
        before = {*self.chosen}
        for _ in self.units:
            borrowed = self._borrowed_places()
            if not any(
                self._claimed(unit)
                for unit in self.units
                if (unit.demand.places | {unit.demand.node}) & borrowed and lacking(unit)
            ):
                break
        return [self.named[name] for name in sorted(before - self.chosen.keys())]

    def _borrowed_places(self) -> set[str]:
        return {
            resource.place
            for resource, each in self.accounts.claims.items()
            if any(self.accounts.borrows(name, resource) for name in each)
        }

    def _claimed(self, unit: Unit) -> bool:
        """Gives a demand the best candidate that it can claim; returns whether there is one."""
        before = self.chosen.get(unit.name)
        timely = before is not None and before.met and self.ledger.in_time(unit.name)
        have = -1.0 if before is None else before.worth if timely else 0.0
        self.chosen.drop(unit)
        for one in self.costs.costed(unit.demand, {}):
            if one.worth <= have + MOVE_COST or not one.worth:
                continue
            if self.accounts.entitled(Held(unit.demand, one.reserved, unit.count)) and self._taken(unit, one):
                return True
        if before is not None:
            self.chosen.take(unit, before)
        return False

    def _taken(self, unit: Unit, wanted: Costed) -> bool:
        """Takes a candidate, for which others give way; returns whether that was possible.

        Those that were in time remain so, except demands of tenants that borrow at the same places.
        """
        held = Held(unit.demand, wanted.reserved, unit.count)
        concerned = [
            self.named[name]
            for resource in sorted(wanted.reserved.resources)
            for name, _ in self.ledger.users(resource)
        ]
        tables = {one.name: self.chosen[one.name] for one in concerned}
        lent = {
            name
            for resource in wanted.reserved.resources
            for name in self.accounts.claims.get(resource, ())
            if self.accounts.borrows(name, resource)
        }
        timely = [
            one.name for one in concerned if one.demand.owner not in lent and self.ledger.in_time(one.name)
        ]
        if not self._made_room(held):
            return False
        self.take(unit, wanted)
        got = self.chosen.get(unit.name)
        if (
            got is not None
            and got.worth >= wanted.worth - 1e-9
            and self.ledger.in_time(unit.name)
            and all(self.ledger.in_time(name) for name in timely if name in self.chosen)
        ):
            return True
        self.chosen.drop(unit)
        self._restore(tables)
        return False

    def _made_room(self, held: Held) -> bool:
        """Makes demands of tenants that borrow give way until something fits; returns whether it does.

        If one of them would be refused, others of their tenants give way too, as long as that serves more.
        """
        bound: list[Resource] = []
        dropped: dict[str, Ranked] = {}
        best: dict[str, Ranked] | None = None
        refused = 0
        while best is None or len(best) < len(dropped):
            binding = self.ledger.binding(held, self.limits)
            if binding is not None:
                bound.append(binding)
            else:
                again = self._placed_again(held, dropped, bound)
                if best is None or len(dropped) - len(again) < refused:
                    best, refused = again, len(dropped) - len(again)
            victim = self._victim(held, bound[-1], dropped) if bound and (binding or refused) else None
            if victim is None or len(dropped) == GIVING:
                break
            dropped[victim.name] = self.chosen[victim.name]
            self.chosen.drop(victim)
        self.chosen.take_all([self.named[name] for name in dropped], dropped if best is None else best)
        return best is not None

    def _victim(self, held: Held, resource: Resource, dropped: Mapping[str, Ranked]) -> Unit | None:
        """Returns the next demand that gives way: the last by priority, then the one that uses most."""
        giving = {self.named[name].demand.owner for name in dropped}
        users = [
            (self.named[name].demand.priority, -used, name)
            for name, used in self.ledger.users(resource)
            if (owner := self.named[name].demand.owner) != held.demand.owner
            and (owner in giving or self.accounts.borrows(owner, resource))
        ]
        return self.named[min(users)[2]] if users else None

    def _placed_again(
        self, held: Held, dropped: Mapping[str, Ranked], bound: Sequence[Resource]
    ) -> dict[str, Ranked]:
        """Returns tables with which demands that gave way fit beside a claim.

        First each gets the candidate that uses least of what binds, then better ones.
        """
        self.ledger.add(held)
        units = sorted(
            (self.named[name] for name in dropped), key=lambda one: (-one.demand.priority, one.name)
        )
        every = {one.name: self.costs.costed(one.demand, {}) for one in units}
        for unit in units:
            for one in sorted(every[unit.name], key=lambda each: self._share(unit, each, bound)):
                if self._put(unit, one):
                    break
        for unit in units:
            least = self.chosen.get(unit.name)
            if least is None:
                continue
            for one in every[unit.name]:
                if one.worth <= least.worth:
                    break
                self.chosen.drop(unit)
                if self._put(unit, one) and self.ledger.in_time(unit.name):
                    break
                self.chosen.drop(unit)
                self.chosen.take(unit, least)
        self.ledger.remove(held.demand.name)
        return self.chosen.drop_all(units)

    def _put(self, unit: Unit, one: Costed) -> bool:
        if not self.ledger.fits(Held(unit.demand, one.reserved, unit.count), self.limits):
            return False
        self.take(unit, one)
        return unit.name in self.chosen

    def _share(self, unit: Unit, one: Costed, bound: Sequence[Resource]) -> float:
        """Returns the largest share of what binds that a candidate would take."""
        asked = self.ledger.asked(Held(unit.demand, one.reserved, unit.count))
        return max(
            asked.get(resource, 0.0) / self.limits[resource] for resource in bound if self.limits[resource]
        )

    def _restore(self, tables: Mapping[str, Ranked]) -> None:
        units = [self.named[name] for name in tables]
        self.chosen.drop_all(units)
        self.chosen.take_all(units, tables)
