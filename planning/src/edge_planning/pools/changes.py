"""What differs between two problems of a pool."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_planning.pools.values import PoolDemand, PoolNode, PoolProblem, PoolServer


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences to the last problem, both in the order of `groups.steady`.

    Attributes:
        same: Demands that are equal but for the server in use, which a plan itself changes.
        remeasured: Demands that differ only in measured bandwidths (and the server in use).
        places: Nodes and servers whose capacities differ.
        gone: Demands that are no longer there.
        tenants: Whether tenants, or how they share, differ.
        nothing: Whether the same plan fits.
    """

    same: frozenset[str]
    remeasured: frozenset[str]
    places: frozenset[str]
    gone: tuple[PoolDemand, ...]
    nothing: bool
    tenants: bool = False


def changes(last: PoolProblem, now: PoolProblem) -> Changes:
    """Returns the differences between two problems."""
    before = {one.name: one for one in last.demands}
    same, remeasured = set(), set()
    for one in now.demands:
        old = before.get(one.name)
        if old is None:
            continue
        if _same(old, one):
            same.add(one.name)
        elif _same(_unmeasured(old), _unmeasured(one)):
            remeasured.add(one.name)
    old_places, places = _places(last), _places(now)
    names = {one.name for one in now.demands}
    tenants = (last.tenants, last.entitled) != (now.tenants, now.entitled)
    return Changes(
        frozenset(same),
        frozenset(remeasured),
        frozenset(one for one in {*old_places, *places} if old_places.get(one) != places.get(one)),
        tuple(one for one in last.demands if one.name not in names),
        nothing=len(same) == len(now.demands) == len(last.demands)
        and not tenants
        and (last.nodes, last.servers) == (now.nodes, now.servers)
        and last.runtime_memory == now.runtime_memory,
        tenants=tenants,
    )


def _same(one: PoolDemand, other: PoolDemand) -> bool:
    return one == other or (one.server != other.server and replace(one, server=other.server) == other)


def _unmeasured(demand: PoolDemand) -> PoolDemand:
    return replace(demand, problems=tuple(replace(one, bandwidth=None) for one in demand.problems))


def _places(problem: PoolProblem) -> Mapping[str, PoolNode | PoolServer]:
    nodes: dict[str, PoolNode | PoolServer] = {one.name: one for one in problem.nodes}
    return nodes | {one.name: one for one in problem.servers}
