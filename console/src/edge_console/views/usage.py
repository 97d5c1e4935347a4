"""Who uses what of a planned pool. Pure."""

from edge_console.fields import Json
from edge_console.rights import Sight
from edge_planning.pools import PoolPlan
from edge_planning.pools.occupancy import Occupancy, Use
from edge_planning.pools.reservations import Kind, Resource

_NAMES = {Kind.CPU: "Cpu", Kind.MEMORY: "Memory", Kind.UPLINK: "Uplink", Kind.BUSY: "Triton"}
_SHOWN = 8
"""Services of a resource that are listed; the use of the others is summed."""


def usage(plan: PoolPlan, sight: Sight) -> list[Json]:
    """Returns each resource that is used: the total, its capacity (None: unlimited), and by which services.

    In compute seconds per second, bytes or bit/s. Services that the viewer does not see are summed as others.
    Memory is shared, so the parts of services are more than all of it.
    """
    occupancy = Occupancy(plan)
    found: dict[Resource, list[tuple[str, Use]]] = {}
    for name in plan.placed:
        for use in occupancy.uses(name):
            found.setdefault(use.resource, []).append((name, use))
    return [_resource(each, found[each], sight) for each in sorted(found, key=str)]


def _resource(resource: Resource, uses: list[tuple[str, Use]], sight: Sight) -> Json:
    named: dict[str, float] = {}
    for name, use in uses:
        service = name.rpartition("@")[0]
        if sight.sees(service.partition("/")[0]):
            before = named.get(service, 0.0)
            named[service] = max(before, use.own) if resource.kind is Kind.MEMORY else before + use.own
    most = sorted(named.items(), key=lambda each: (-each[1], each[0]))[:_SHOWN]
    first = uses[0][1]
    return {
        "resource": _NAMES[resource.kind],
        "place": resource.place,
        "used": _rounded(first.used),
        "capacity": None if first.capacity == float("inf") else _rounded(first.capacity),
        "services": [{"service": service, "own": _rounded(own)} for service, own in most],
        "others": _rounded(max(first.used - sum(own for _, own in most), 0.0)),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
