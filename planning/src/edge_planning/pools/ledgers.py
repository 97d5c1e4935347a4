"""What is reserved of a pool, by resource and tenant, and how long requests wait at each place."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import inf

import numpy as np

from edge_planning.costs.queueing import shared
from edge_planning.pools.reservations import Kind, Part, Reservation, Resource
from edge_planning.pools.values import PoolDemand, PoolProblem
from edge_planning.problems import Traffic

TOLERANCE = 1e-9
"""Relative; sums of amounts are not exact."""


class Ledger:
    """Reservations by demand, and what is left."""

    def __init__(self, problem: PoolProblem, capacity: Mapping[Resource, float]) -> None:
        self.capacity = capacity
        self.servers = {one.name: one.concurrency for one in problem.servers}
        self.held: dict[str, tuple[PoolDemand, Reservation]] = {}
        self._used: dict[Resource, dict[str, float]] = {}
        self._sums: dict[tuple[str, Resource], float] = {}
        self._parts: Counter[tuple[str, Part]] = Counter()
        self._traffic: dict[str, dict[str, Traffic]] = {}
        self._allowed: dict[str, dict[str, tuple[float, float]]] = {}
        self._streams: dict[str, Traffic] = {}
        self._least: dict[str, dict[float, float]] = {}

    def add(
        self, demand: PoolDemand, reserved: Reservation, allowed: Mapping[str, float] | None = None
    ) -> None:
        """Reserves.

        allowed: The longest waits at its places; without it, the present ones and its slack.
        """
        name = demand.name
        self.held[name] = demand, reserved
        for resource, amount in reserved.uses.items():
            self._used.setdefault(resource, {})[name] = amount
            self._add(demand.tenant, resource, amount)
        for part, size in reserved.parts.items():
            for owner in ("", demand.tenant):
                self._parts[owner, part] += 1
                if self._parts[owner, part] == 1:
                    self._sums[owner, part.memory] = self._sums.get((owner, part.memory), 0.0) + size
        for place, traffic in reserved.traffic.items():
            self._traffic.setdefault(place, {})[name] = traffic
            self._streams.pop(place, None)
            longest = self.wait(place, reserved.percentile) + reserved.slack[place]
            longest = longest if allowed is None else allowed[place]
            self._allowed.setdefault(place, {})[name] = reserved.percentile, longest
            self._least.pop(place, None)

    def remove(self, name: str) -> None:
        """Frees what a demand holds."""
        demand, reserved = self.held.pop(name)
        for resource, amount in reserved.uses.items():
            del self._used[resource][name]
            self._add(demand.tenant, resource, -amount)
        for part, size in reserved.parts.items():
            for owner in ("", demand.tenant):
                self._parts[owner, part] -= 1
                if not self._parts[owner, part]:
                    self._sums[owner, part.memory] -= size
        for place in reserved.traffic:
            del self._traffic[place][name], self._allowed[place][name]
            self._streams.pop(place, None)
            self._least.pop(place, None)

    def used(self, resource: Resource, tenant: str = "") -> float:
        """Returns the amount that is used by a tenant, or by all."""
        return self._sums.get((tenant, resource), 0.0)

    def asked(self, resource: Resource, reserved: Reservation, tenant: str = "") -> float:
        """Returns how much more of a resource a reservation takes, for a tenant's account or for all."""
        if resource.kind is not Kind.MEMORY:
            return reserved.uses.get(resource, 0.0)
        parts = reserved.parts.items()
        return sum(size for part, size in parts if part.memory == resource and not self._parts[tenant, part])

    def binding(self, reserved: Reservation, tenant: str = "", share: float = 1.0) -> Resource | None:
        """Returns the first resource of which too little is left; None if all suffice.

        With a tenant: of its share of the pool.
        """
        for resource in sorted({*reserved.uses, *(part.memory for part in reserved.parts)}):
            limit = self.capacity[resource] * share
            asked = self.asked(resource, reserved, tenant)
            if asked > 0 and self.used(resource, tenant) + asked > limit * (1 + TOLERANCE):
                return resource
        return None

    def late(self, reserved: Reservation) -> str | None:
        """Returns the first place at which its requests would make those of others late, or None."""
        for place, traffic in sorted(reserved.traffic.items()):
            if not self._traffic.get(place):
                continue
            for percentile, allowed in self._least_at(place).items():
                if allowed < inf and self.wait(place, percentile, traffic) > allowed * (1 + TOLERANCE) + 1e-9:
                    return place
        return None

    def allowed(self, name: str) -> dict[str, float]:
        """Returns the longest waits with which a demand is in time, by place."""
        return {place: self._allowed[place][name][1] for place in self.held[name][1].traffic}

    def allowed_alone(self, reserved: Reservation) -> dict[str, float]:
        """Returns the longest waits with which a table is in time that was planned without others."""
        return {
            place: _wait((traffic,), self.servers.get(place, 1), reserved.percentile) + reserved.slack[place]
            for place, traffic in reserved.traffic.items()
        }

    def in_time(self, name: str) -> bool:
        """Returns whether the waits at all places of a demand are within those allowed."""
        percentile = self.held[name][1].percentile
        return all(
            self.wait(place, percentile) <= longest * (1 + TOLERANCE) + 1e-9
            for place, longest in self.allowed(name).items()
        )

    def wait(self, place: str, percentile: float, extra: Traffic | None = None) -> float:
        """Returns the seconds of wait at a place, with `extra` requests there."""
        now = self.traffic(place)
        found = [one for one in (now, extra) if one is not None]
        return _wait(tuple(found), self.servers.get(place, 1), percentile)

    def traffic(self, place: str) -> Traffic | None:
        """Returns all requests at a place as one stream, or None if nothing is requested there."""
        streams = self._traffic.get(place)
        if not streams:
            return None
        if place not in self._streams:
            self._streams[place] = mixed([streams[name] for name in sorted(streams)])
        return self._streams[place]

    def users(self, resource: Resource) -> tuple[str, ...]:
        """Returns the demands that use a resource, the largest first."""
        if resource.kind is not Kind.MEMORY:
            amounts = self._used.get(resource, {})
        else:
            amounts = {
                name: size
                for name, (_, reserved) in self.held.items()
                if (size := sum(s for part, s in reserved.parts.items() if part.memory == resource))
            }
        return tuple(sorted(amounts, key=lambda name: (-amounts[name], name)))

    def dominant_share(self, tenant: str) -> float:
        """Returns the largest share of any one resource that a tenant holds."""
        return max(
            (
                amount / self.capacity[resource]
                for (owner, resource), amount in self._sums.items()
                if owner == tenant and amount > 0 and self.capacity[resource] > 0
            ),
            default=0.0,
        )

    def totals(self) -> dict[Resource, float]:
        """Returns the use of every resource, summed in the order of names."""
        found: dict[Resource, float] = {}
        counted: set[Part] = set()
        for name in sorted(self.held):
            reserved = self.held[name][1]
            for resource, amount in sorted(reserved.uses.items()):
                found[resource] = found.get(resource, 0.0) + amount
            for part, size in sorted(reserved.parts.items()):
                if part not in counted:
                    counted.add(part)
                    found[part.memory] = found.get(part.memory, 0.0) + size
        return found

    def _add(self, tenant: str, resource: Resource, amount: float) -> None:
        for owner in ("", tenant):
            self._sums[owner, resource] = self._sums.get((owner, resource), 0.0) + amount

    def _least_at(self, place: str) -> dict[float, float]:
        if place not in self._least:
            least: dict[float, float] = {}
            for percentile, allowed in self._allowed[place].values():
                least[percentile] = min(least.get(percentile, inf), allowed)
            self._least[place] = least
        return self._least[place]


def capacities(problem: PoolProblem, uplink_share: float) -> dict[Resource, float]:
    """Returns the capacity of every resource of a pool."""
    found: dict[Resource, float] = {}
    for node in problem.nodes:
        found[Resource(Kind.CPU, node.name)] = node.cpu
        found[Resource(Kind.MEMORY, node.name)] = node.memory
        found[Resource(Kind.UPLINK, node.name)] = node.uplink * uplink_share
    for server in problem.servers:
        found[Resource(Kind.BUSY, server.name)] = float(server.concurrency)
        found[Resource(Kind.MEMORY, server.name)] = server.memory
    return found


def mixed(streams: Iterable[Traffic]) -> Traffic:
    """Returns several streams as one."""
    rate = first = second = 0.0
    for one in streams:
        rate += one.rate
        first += one.rate * one.seconds
        second += one.rate * one.seconds**2 * (1 + one.variance)
    mean = first / rate if rate else 0.0
    return Traffic(rate, mean, max(second / rate / mean**2 - 1, 0.0) if mean else 0.0)


def _wait(streams: tuple[Traffic, ...], servers: int, percentile: float) -> float:
    if not streams:
        return 0.0
    columns = ([getattr(one, name) for one in streams] for name in ("rate", "seconds", "variance"))
    rates, seconds, variances = (np.array(column) for column in columns)
    return float(shared(rates, seconds, variances, servers).wait_quantile(percentile))
