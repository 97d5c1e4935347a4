"""Entry nodes that are planned once: of one class and capacity, with equal demands."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from edge_planning.pools.questions import Questions
from edge_planning.pools.values import PoolDemand, PoolNode, PoolProblem
from edge_planning.pools.waiting import rounded_down
from edge_planning.problems import IntermediateNode


@dataclass(frozen=True, slots=True)
class Group:
    """Entry nodes that are planned as one, the first by name for all.

    Attributes:
        nodes: Names.
        demands: Of the first, by name.
        members: The demands of every node, in the order of `demands`.
    """

    nodes: tuple[str, ...]
    demands: tuple[PoolDemand, ...]
    members: tuple[tuple[PoolDemand, ...], ...]


def groups(
    problem: PoolProblem, questions: Questions, mark: Callable[[PoolDemand], object] = lambda _: None
) -> tuple[Group, ...]:
    """Returns the groups of all entry nodes, by name of the first.

    mark: What else must be equal of two demands.
    """
    nodes = {one.name: one for one in problem.nodes}
    shared = {each.name for one in problem.demands for each in _intermediates(one)}
    ordered = sorted(problem.demands, key=lambda one: (one.node, one.tenant, one.service))
    found: dict[object, list[tuple[PoolDemand, ...]]] = {}
    for name, some in groupby(ordered, key=lambda one: one.node):
        demands = tuple(some)
        alone = name if name in shared else None
        key = (alone, _capacity(nodes[name]), tuple(_key(one, questions, mark) for one in demands))
        found.setdefault(key, []).append(demands)
    return tuple(
        Group(tuple(demands[0].node for demands in members), members[0], tuple(members))
        for members in found.values()
    )


def steady(problem: PoolProblem) -> PoolProblem:
    """Returns the problem in a fixed order, with uplinks rounded down to two digits.

    Noise in measured bandwidths then changes no plan.
    """
    return replace(
        problem,
        nodes=tuple(_rounded(one) for one in sorted(problem.nodes, key=lambda one: one.name)),
        servers=tuple(sorted(problem.servers, key=lambda one: one.name)),
        tenants=tuple(sorted(problem.tenants, key=lambda one: one.name)),
        demands=tuple(_ordered(one) for one in sorted(problem.demands, key=lambda one: one.name)),
    )


def _rounded(node: PoolNode) -> PoolNode:
    uplink = rounded_down(node.uplink, 2)
    return node if uplink == node.uplink else replace(node, uplink=uplink)


def _ordered(demand: PoolDemand) -> PoolDemand:
    problems = tuple(sorted(demand.problems, key=lambda one: one.peer))
    return demand if problems == demand.problems else replace(demand, problems=problems)


def _intermediates(demand: PoolDemand) -> tuple[IntermediateNode, ...]:
    return tuple(one for each in demand.problems for one in each.intermediates)


def _capacity(node: PoolNode) -> tuple[object, ...]:
    return node.device_class, node.cpu, node.memory, node.uplink


def _key(one: PoolDemand, questions: Questions, mark: Callable[[PoolDemand], object]) -> tuple[object, ...]:
    problems = tuple(
        (questions.key(each), each.peer, None if each.bandwidth is None else rounded_down(each.bandwidth, 2))
        for each in one.problems
    )
    return (
        one.tenant,
        one.service,
        one.digest,
        one.rate,
        one.priority,
        one.isolation,
        one.server,
        one.assumed,
        one.observed,
        mark(one),
        problems,
    )
