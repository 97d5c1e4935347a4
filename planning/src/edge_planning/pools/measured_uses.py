"""What measured requests take, by tenant before a pool is planned and by demand after it."""

from collections.abc import Iterable

from edge_planning.pools.crowding import Crowding
from edge_planning.pools.groups import Group
from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Resource
from edge_planning.pools.tables import Tables
from edge_planning.pools.units import Unit


def unreserved(units: Iterable[Unit], tables: Tables) -> dict[tuple[str, Resource], float]:
    """Returns what measured requests of each tenant would take beyond what is reserved.

    With the tables that demands would have alone, so that what others hold does not matter.
    """
    found: dict[tuple[str, Resource], float] = {}
    for unit in units:
        alone = tables.alone(unit.demand) if unit.demand.unreserved else ()
        if alone:
            best = max(alone, key=lambda one: one.rank)
            for resource, amount in Held(unit.demand, best.reserved, unit.count).uses():
                key = unit.demand.owner, resource
                found[key] = found.get(key, 0.0) + amount * unit.demand.unreserved
    return found


def taken_by_members(crowding: Crowding, every: Iterable[Group]) -> dict[str, dict[Resource, float]]:
    """Returns what measured requests take beside what is reserved, by demand of every node."""
    found: dict[str, dict[Resource, float]] = {}
    for group in every:
        for number, demand in enumerate(group.demands):
            held = crowding.ledger.held.get(demand.name)
            if held is None or not demand.unreserved:
                continue
            for resource, _ in held.uses():
                amount = crowding.taken(resource).get(demand.name, 0.0)
                own = resource.place == demand.node
                for members in group.members:
                    place = members[number].node if own else resource.place
                    each = found.setdefault(members[number].name, {})
                    each[Resource(resource.kind, place)] = amount if own else amount / held.count
    return found
