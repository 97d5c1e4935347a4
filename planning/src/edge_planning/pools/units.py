"""Demands as they are planned: one for all equal entry nodes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_planning.pools.ledgers import Ledger
from edge_planning.pools.results import Placed
from edge_planning.pools.values import LIMIT, PoolDemand

Score = tuple[tuple[int, ...], float]


@dataclass(frozen=True, slots=True)
class Unit:
    """A demand of the first node of a group.

    Attributes:
        count: Entry nodes of the group.
        old: Its table in the previous plan, if any.
        unchanged: Whether the previous plan had the same demand.
    """

    demand: PoolDemand
    count: int
    old: Placed | None = None
    unchanged: bool = False

    @property
    def name(self) -> str:
        return self.demand.name

    @property
    def weight(self) -> float:
        """Of its accuracy, as in the joint choice."""
        return (100.0 + LIMIT + self.demand.priority) * self.demand.rate * self.count


def score(units: Iterable[Unit], worth: Mapping[str, float], ledger: Ledger) -> Score:
    """Returns what is minimized: refusals by priority, the highest first, then the lost accuracy.

    worth: Of the planned route of each demand that is not refused.
    """
    refused: dict[int, int] = {}
    gained = 0.0
    for unit in units:
        refused.setdefault(unit.demand.priority, 0)
        if unit.name not in worth:
            refused[unit.demand.priority] += unit.count
        elif ledger.in_time(unit.name):
            gained += unit.weight * worth[unit.name]
    return tuple(refused[priority] for priority in sorted(refused, reverse=True)), -gained
