"""Weights by which the runtimes of a node divide its processors, from the entitlements of tenants. Pure.

A weight depends on who has runtimes at a node, not on how many requests come: what one tenant leaves idle,
the kernel gives to the others by the same weights.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from edge_operator.keys import ServiceKey
from edge_operator.names import CPU_WEIGHT_ANNOTATION
from edge_operator.nodes.runtimes import Runtime
from edge_operator.pool.pooled import EntryKey, PlannedEntry, Pool
from edge_planning import Plan
from edge_planning.pools import PoolShare
from edge_planning.sharing import ResourceKind

CPU = ResourceKind.CPU


def weighed(
    entries: Mapping[EntryKey, PlannedEntry], pool: Pool, shares: Iterable[PoolShare]
) -> dict[EntryKey, PlannedEntry]:
    """Returns entries whose notes say the weight of their runtime, where that is or was not 1.

    shares: of the tenants, by the plan of the pool; none if there are no Tenants.
    """
    services = {service.key: service for service in pool.services}
    runtimes = {}
    for key in entries:
        service = services[ServiceKey(key.namespace, key.service)]
        alone = service.key.name if service.isolation == "Dedicated" else ""
        runtimes[key] = Runtime(key.namespace, key.node, alone)
    planned = {runtimes[key] for key, entry in entries.items() if isinstance(entry.plan, Plan)}
    nominal = {one.name: one.kinds[CPU].nominal for one in shares if CPU in one.kinds}
    weights = runtime_weights(pool.runtimes | planned, nominal, pool.tenancy.of) if pool.tenancy else {}
    found = dict(entries)
    for key, entry in entries.items():
        weight = f"{weights.get(runtimes[key], 1.0):.3g}"
        published = services[ServiceKey(key.namespace, key.service)].placements.get(key.node)
        noted = published is not None and CPU_WEIGHT_ANNOTATION in published.metadata.annotations
        if weight != "1" or noted:
            found[key] = replace(entry, notes={**entry.notes, CPU_WEIGHT_ANNOTATION: weight})
    return found


def runtime_weights(
    runtimes: Iterable[Runtime], nominal: Mapping[str, float], tenant_of: Callable[[str], str]
) -> dict[Runtime, float]:
    """Returns the weight of each runtime: 1 on average over those of a node.

    Runtimes of a tenant at a node share its weight evenly. If none of the tenants there is entitled to
    anything, all have the same.

    nominal: what tenants are entitled to, of the processors of all nodes. tenant_of: of a namespace.
    """
    at: dict[str, dict[str, list[Runtime]]] = defaultdict(lambda: defaultdict(list))
    for one in runtimes:
        at[one.node][tenant_of(one.namespace)].append(one)
    found: dict[Runtime, float] = {}
    for tenants in at.values():
        total = sum(nominal.get(name, 0.0) for name in tenants)
        number = sum(map(len, tenants.values()))
        for name, own in tenants.items():
            weight = number * nominal.get(name, 0.0) / total / len(own) if total > 0 else 1.0
            found |= dict.fromkeys(own, weight)
    return found
