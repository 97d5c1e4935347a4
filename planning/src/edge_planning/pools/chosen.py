"""The tables that demands have while a plan is made."""

from collections.abc import Iterable, Mapping, Sequence

from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.tables import Ranked
from edge_planning.pools.units import Unit


class Chosen(dict[str, Ranked]):
    """Tables by demand; the ledger holds what they reserve. Changed by its own methods only."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def take(self, unit: Unit, table: Ranked) -> None:
        """Gives a demand without a table one."""
        self.ledger.add(Held(unit.demand, table.reserved, unit.count))
        self[unit.name] = table

    def drop(self, unit: Unit) -> None:
        """Frees what a demand holds, if anything."""
        if self.pop(unit.name, None) is not None:
            self.ledger.remove(unit.name)

    def take_all(self, units: Iterable[Unit], tables: Mapping[str, Ranked]) -> None:
        """Gives each demand its table, if it has one."""
        for unit in units:
            if unit.name in tables:
                self.take(unit, tables[unit.name])

    def drop_all(self, units: Sequence[Unit]) -> dict[str, Ranked]:
        """Frees what demands hold, and returns their tables."""
        tables = {unit.name: self[unit.name] for unit in units if unit.name in self}
        for unit in units:
            self.drop(unit)
        return tables
