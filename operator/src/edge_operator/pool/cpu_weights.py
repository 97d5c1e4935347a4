"""Weights by which the runtimes of a node divide its processors, from the plan of the pool. Pure.

Tenants divide a node by their entitlements, regardless of their current use: what one leaves idle, the kernel
gives to the others, and its owner has it back with the next request. A tenant's part goes to its namespaces,
and the part of a namespace to its runtimes, by what the plan counts for their services there. Without
Tenants, all namespaces are of one.

Cost: one step for each place at which the plan counts something for an entry node.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from edge_operator.cluster import Object
from edge_operator.keys import ServiceKey
from edge_operator.names import CPU_WEIGHT_ANNOTATION
from edge_operator.nodes.cpu_requests import started_with
from edge_operator.nodes.runtimes import Runtime, is_current, runtime_of
from edge_operator.pool.pooled import EntryKey, PlannedEntry, Pool, Weight
from edge_planning import Plan
from edge_planning.pools import Isolation, PoolPlan
from edge_planning.pools.reservations import Kind
from edge_planning.sharing import ResourceKind

CHANGE: Final = 1.25
"""Ratio of two weights of a runtime from which the new one is published."""
COUNTED: Final = 0.8
"""Part of what is divided that goes at most by what the plan counts; the rest is divided evenly."""
CPU: Final = ResourceKind.CPU
_SAME: Final = 0.01
"""Ratio by which sums of weights differ because weights have three digits."""

Name = TypeVar("Name")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Weighed:
    """Entries whose notes say the weight of their runtime, where that is or was not 1.

    Attributes:
        spent: Nodes whose weights follow new counts.
        waiting: Whether there are more of them than was allowed.
    """

    entries: Mapping[EntryKey, PlannedEntry]
    spent: int = 0
    waiting: bool = False


class ReadWeight(NamedTuple):
    """What a Placement says of the weight of its runtime; weight: None if an earlier version wrote it."""

    placement: Object
    key: EntryKey
    weight: Weight | None


def read_weights(
    placements: Iterable[Object], before: Mapping[str, ReadWeight] = MappingProxyType({})
) -> dict[str, ReadWeight]:
    """Returns what Placements say of weights, by uid or name. before: read again only if they changed."""
    found = {}
    for body in placements:
        uid = body["metadata"].get("uid") or f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        known = before.get(uid)
        found[uid] = known if known is not None and known.placement is body else _read_weight(body)
    return found


def _read_weight(body: Object) -> ReadWeight:
    spec = body["spec"]
    key = EntryKey(body["metadata"]["namespace"], spec["service"], spec["node"])
    if not is_current(body):
        return ReadWeight(body, key, None)
    return ReadWeight(body, key, Weight(runtime_of(body), started_with(body), "refusal" in spec))


def published_weights(read: Iterable[ReadWeight]) -> dict[EntryKey, Weight]:
    """Returns the runtimes that Placements need, with their weights; 1 where none is noted."""
    return {each.key: each.weight for each in read if each.weight is not None}


def weighed(
    entries: Mapping[EntryKey, PlannedEntry],
    pool: Pool,
    plan: PoolPlan,
    adopted: Collection[str] = (),
    nodes: int | None = None,
) -> Weighed:
    """Returns entries with the weights of their runtimes.

    Weights at a node stay while each is within CHANGE of what follows from the plan. They change at once with
    the entitlements, and with the runtimes at the node.

    adopted: demands that keep their published tables, of which the plan counts others. nodes: at how many
    nodes the weights can follow new counts; default: all.
    """
    services = {service.key: service for service in pool.services}
    runtimes = {}
    for key in entries:
        service = services[ServiceKey(key.namespace, key.service)]
        alone = service.key.name if service.isolation == "Dedicated" else ""
        runtimes[key] = Runtime(key.namespace, key.node, alone)
    present = {runtimes[key] for key, entry in entries.items() if isinstance(entry.plan, Plan)}
    before: dict[Runtime, float] = {}
    for each in pool.published.values():
        before[each.runtime] = max(before.get(each.runtime, 0.0), each.weight)
    counts = counted(plan)
    nominal = {one.name: one.kinds[CPU].nominal for one in plan.tenants if CPU in one.kinds}
    wanted = runtime_weights(
        {one: counts.get(one, 0.0) for one in present | before.keys()}, nominal, pool.tenancy.of
    )
    steady, chosen = _uncounted(entries, pool, plan, adopted), dict[Runtime, float]()
    spent, waiting = 0, False
    for node, new in sorted(_by_node(wanted).items()):
        old = {one: before[one] for one in new if one in before}
        if len(old) < len(new) or not _same_parts(old, new, pool.tenancy.of):
            chosen |= new
        elif node in steady or all(_close(old[one], weight) for one, weight in new.items()):
            chosen |= old
        elif nodes is not None and spent >= nodes:
            waiting = True
            chosen |= old
        else:
            spent += 1
            chosen |= new
    found = dict(entries)
    for key, entry in entries.items():
        weight = f"{chosen.get(runtimes[key], 1.0):.3g}"
        published = services[ServiceKey(key.namespace, key.service)].placements.get(key.node)
        noted = published is not None and CPU_WEIGHT_ANNOTATION in published.metadata.annotations
        if weight != "1" or noted:
            found[key] = replace(entry, notes={**entry.notes, CPU_WEIGHT_ANNOTATION: weight})
    return Weighed(found, spent, waiting)


def counted(plan: PoolPlan) -> dict[Runtime, float]:
    """Returns what a plan reserves for each runtime, as entry node and as intermediate node.

    In parts of the time of its node that inference can use. Requests that were measured and not declared have
    no part of their own: a namespace that sends more of them takes nothing from others.
    """
    usable = {node.name: node.cpu for node in plan.problem.nodes}
    found: dict[Runtime, float] = defaultdict(float)
    for demand in plan.problem.demands:
        placed = plan.placed.get(demand.name)
        alone = demand.service if demand.isolation is Isolation.DEDICATED else ""
        for resource, amount in () if placed is None else placed.reservation.uses.items():
            if resource.kind is Kind.CPU and usable[resource.place] > 0:
                found[Runtime(demand.tenant, resource.place, alone)] += amount / usable[resource.place]
    return found


def runtime_weights(
    counts: Mapping[Runtime, float], nominal: Mapping[str, float], tenant_of: Callable[[str], str]
) -> dict[Runtime, float]:
    """Returns the weight of each runtime: 1 on average over those of a node.

    If none of the tenants at a node is entitled to anything, they have equal parts.

    counts: of all runtimes. nominal: what tenants are entitled to, of the processors of all nodes. tenant_of:
    of a namespace.
    """
    found: dict[Runtime, float] = {}
    for at in _by_node(counts).values():
        tenants: dict[str, dict[str, dict[Runtime, float]]] = defaultdict(lambda: defaultdict(dict))
        for one, count in at.items():
            tenants[tenant_of(one.namespace)][one.namespace][one] = count
        total = sum(nominal.get(name, 0.0) for name in tenants)
        for name, namespaces in tenants.items():
            part = nominal.get(name, 0.0) / total if total > 0 else 1 / len(tenants)
            parts = divided(part, {each: sum(own.values()) for each, own in namespaces.items()})
            for each, own in namespaces.items():
                found |= {one: len(at) * amount for one, amount in divided(parts[each], own).items()}
    return found


def divided(part: float, counts: Mapping[Name, float]) -> dict[Name, float]:
    """Returns how a part of a node is divided: each has what is counted for it, and the rest evenly.

    The rest is at least a fifth of the part, so that nothing starves.
    """
    total = sum(counts.values())
    scale = min(COUNTED * part / total, 1.0) if total > 0 else 1.0
    rest = (part - total * scale) / len(counts)
    return {name: amount * scale + rest for name, amount in counts.items()}


def _uncounted(
    entries: Mapping[EntryKey, PlannedEntry], pool: Pool, plan: PoolPlan, adopted: Collection[str]
) -> frozenset[str]:
    """Returns the nodes at which the plan does not tell what the published tables need.

    A service there keeps a table that is not of this plan: it cannot be planned now, or its table was read
    back after a start of the operator.
    """
    found = {
        key.node
        for key in pool.published.keys() - entries.keys()
        if pool.tenancy.stop(key.namespace) != "HoldAndDrain" and not pool.published[key].refusing
    }
    if not adopted:
        return frozenset(found)
    if len(adopted) == len(plan.placed):
        return frozenset(node.name for node in plan.problem.nodes)
    changed: dict[str, bool] = {}
    for name, placed in plan.placed.items():
        for resource in placed.reservation.uses:
            changed[resource.place] = changed.get(resource.place, False) or name not in adopted
    return frozenset(found | {place for place, other in changed.items() if not other})


def _same_parts(
    old: Mapping[Runtime, float], new: Mapping[Runtime, float], tenant_of: Callable[[str], str]
) -> bool:
    """Returns whether each tenant has the same part of a node by both weights."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one, weight in new.items():
        both = sums[tenant_of(one.namespace)]
        both[0] += old[one]
        both[1] += weight
    return all(abs(before - now) <= _SAME * max(before, now) for before, now in sums.values())


def _close(old: float, new: float) -> bool:
    return max(old, new) <= CHANGE * (1 + 1e-9) * min(old, new)


def _by_node(values: Mapping[Runtime, Value]) -> dict[str, dict[Runtime, Value]]:
    found: dict[str, dict[Runtime, Value]] = defaultdict(dict)
    for one, value in values.items():
        found[one.node][one] = value
    return found
