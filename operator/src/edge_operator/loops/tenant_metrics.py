"""The metrics of tenants: bounded by the number of tenants and of kinds of resources."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from edge_operator import metrics
from edge_planning.pools import PoolShare
from edge_planning.sharing import ResourceKind

_AMOUNTS: Final = ("nominal", "used", "borrowed", "lent")


def measure(
    pools: Iterable[Mapping[str, PoolShare]], weights: Mapping[str, float], before: frozenset[str]
) -> frozenset[str]:
    """Sets the metrics of all tenants, summed over pools, and removes those of tenants that are gone.

    weights: By tenant, where it is not 1. before: Tenants that had metrics. Returns those that have some now.
    """
    found: dict[str, list[PoolShare]] = defaultdict(list)
    for pool in pools:
        for name, share in pool.items():
            found[name].append(share)
    for name in before - found.keys():
        for kind in ResourceKind:
            for amount in _AMOUNTS:
                metrics.TENANT_RESOURCES.remove(name, kind, amount)
        for state in ("stepped_down", "refused"):
            metrics.TENANT_SERVICES.remove(name, state)
        for amount in ("used", "borrowed"):
            metrics.TENANT_SHARE.remove(name, amount)
        metrics.TENANT_WEIGHT.remove(name)
        metrics.TENANT_WEIGHTED_SHARE.remove(name)
    for name, shares in found.items():
        for kind in ResourceKind:
            kept = [share.kinds[kind] for share in shares if kind in share.kinds]
            for amount in _AMOUNTS:
                total = sum(getattr(one, amount) for one in kept)
                metrics.TENANT_RESOURCES.labels(name, kind, amount).set(total)
        metrics.TENANT_SERVICES.labels(name, "stepped_down").set(sum(one.stepped_down for one in shares))
        metrics.TENANT_SERVICES.labels(name, "refused").set(sum(one.refused for one in shares))
        metrics.TENANT_SHARE.labels(name, "used").set(max(one.dominant for one in shares))
        metrics.TENANT_SHARE.labels(name, "borrowed").set(max(one.borrowed for one in shares))
        metrics.TENANT_WEIGHT.labels(name).set(weights.get(name, 1.0))
        metrics.TENANT_WEIGHTED_SHARE.labels(name).set(max(one.weighted for one in shares))
    return frozenset(found)
