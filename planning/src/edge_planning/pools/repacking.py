"""Packs weights where memory is left once every demand has its table."""

from collections.abc import Mapping, Sequence

from edge_planning.pools.chosen import Chosen
from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Resource
from edge_planning.pools.tables import Tables
from edge_planning.pools.units import Unit


def pack(
    units: Sequence[Unit], chosen: Chosen, tables: Tables, limits: Mapping[Resource, float] | None
) -> None:
    """Gives demands the same routes with more packed weights, where these fit.

    A joint choice counts accuracy alone, for which packed weights are often no better.

    units: by priority. limits: how much of each resource is used; None for all of it.
    """
    for unit in units:
        held = chosen.get(unit.name)
        if held is None or not held.problem.unpacked:
            continue
        chosen.drop(unit)
        fitting = (
            one
            for one in tables.repacked(unit.demand, held, chosen.ledger)
            if (one.met, one.worth) >= (held.met, held.worth)
            and chosen.ledger.fits(Held(unit.demand, one.reserved, unit.count), limits)
        )
        chosen.take(unit, next(fitting, held))
