"""Which Triton server of a pool the routes of a service at an entry node lead to. Pure.

The plan decides by the value that it predicts with each server. A move costs loads on another server, so the
server that the published Placement uses is kept unless it is lost, full, or clearly worse than another.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edge_planning import Infeasible, Plan

MARGIN = 0.01
"""Value by which another server must be better: a point of accuracy, or a fifth of the SLO's latency."""
HEADROOM = 0.05
"""Value of a predicted latency of 0, beside the accuracy; a latency as long as the SLO's has none."""
_INFEASIBLE = -1.0


@dataclass(frozen=True, slots=True)
class Rated:
    """A server, with the value of the plan that uses it.

    Attributes:
        value: As `value_of` returns it.
        placed: Placements of the pool that use the server.
        away: Whether it is taken as lost.
        steady: Whether it has responded for long enough to move to it without need.
        full: Whether it has no room for tails of the service.
    """

    name: str
    value: float
    placed: int = 0
    away: bool = False
    steady: bool = True
    full: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The server to use.

    Attributes:
        left: The server that was left because it was lost, to which the entry node returns.
        replaceable: Whether there is another server with room.
    """

    name: str
    left: str | None = None
    replaceable: bool = False


def value_of(plan: Plan | Infeasible, bandwidth: float | None, deadline: float) -> float:
    """Returns the value of a plan: its worth to the objective, and a little for time that is left.

    bandwidth: in bit/s, at which the worth counts; None: the expected worth over all bandwidths. deadline: in
    seconds.
    """
    if isinstance(plan, Infeasible):
        return _INFEASIBLE
    worth = plan.table.accuracy
    if bandwidth is not None:
        route = plan.table.at(bandwidth)
        met = route.met_from is not None and route.met_from <= bandwidth
        worth = (route.accuracy if route.worth is None else route.worth) if met else 0.0
    return worth + HEADROOM * max(0.0, 1 - plan.nearest_slo / deadline)


def choose(
    key: str,
    servers: Sequence[Rated],
    current: str | None,
    left: str | None = None,
    *,
    sending: bool = True,
) -> Choice:
    """Returns the server for an entry node of a service.

    key: identifies both; it breaks ties. servers: at least one. current: the server that the published
    Placement names, if any. left: as in the Choice before. sending: whether a published route leads to it; a
    move from local routes alone cannot lose anything, so it does not wait for a steady server.
    """
    usable = _usable(servers)
    by_name = {each.name: each for each in usable}
    replaceable = sum(not each.away and not each.full for each in servers) > 1
    kept = by_name.get(current or "")
    if kept is None:
        lost = current if any(each.name == current and each.away for each in servers) else None
        chosen = _best(key, usable).name
        first = left or lost
        return Choice(chosen, first if first != chosen else None, replaceable)
    back = by_name.get(left or "")
    if back is not None and back.steady and back.value >= kept.value - MARGIN:
        return Choice(back.name, None, replaceable)
    known = [each for each in usable if each.steady or not sending]
    better = [each for each in known if each.value > kept.value + MARGIN]
    if better:
        return Choice(_best(key, better).name, None, replaceable)
    return Choice(kept.name, left if left != kept.name else None, replaceable)


def lost_servers(choices: Sequence[tuple[str, Choice]], away: Collection[str]) -> str:
    """Returns which servers are lost and what is used instead; empty if none is. choices: by node."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for node, choice in choices:
        if choice.left is not None and choice.left in away:
            nodes.setdefault((choice.left, choice.name), []).append(node)
    return "; ".join(
        f"Triton server {left} does not respond: {used} is used at {', '.join(where)}"
        for (left, used), where in nodes.items()
    )


def _usable(servers: Sequence[Rated]) -> Sequence[Rated]:
    """Returns the servers that respond and have room; failing that, those that respond; failing that, all."""
    responding = [each for each in servers if not each.away]
    return [each for each in responding if not each.full] or responding or servers


def _best(key: str, servers: Sequence[Rated]) -> Rated:
    """Returns a server of the highest value; of equal ones a steady one, then that with fewest Placements."""
    highest = max(each.value for each in servers)
    equal = [each for each in servers if each.value >= highest - MARGIN]
    return min(equal, key=lambda each: (not each.steady, each.placed, _rank(key, each.name)))


def _rank(key: str, name: str) -> str:
    return hashlib.sha256(f"{key} {name}".encode()).hexdigest()
