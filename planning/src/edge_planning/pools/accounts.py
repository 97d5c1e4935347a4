"""What tenants that share a pool by entitlement use of each resource, and how much they can use."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from types import MappingProxyType

import numpy as np

from edge_planning.pools.held import Held
from edge_planning.pools.reservations import Kind, Part, Resource
from edge_planning.pools.values import LIMIT, PoolProblem
from edge_planning.sharing import Amount, Quota, ResourceKind, Share, Tenant
from edge_planning.sharing.entitlements import entitlements_to

TOLERANCE = 1e-9
"""Relative; sums of amounts are not exact."""

_KINDS = {Kind.CPU: ResourceKind.CPU, Kind.UPLINK: ResourceKind.UPLINK, Kind.BUSY: ResourceKind.TRITON_TIME}


def kind_of(resource: Resource, servers: Collection[str]) -> ResourceKind:
    """Returns the kind for which tenants have quotas. servers: names of the Triton servers."""
    if resource.kind is Kind.MEMORY:
        return ResourceKind.TRITON_MEMORY if resource.place in servers else ResourceKind.MEMORY
    return _KINDS[resource.kind]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a tenant is entitled to of a resource.

    Attributes:
        most: Largest use, borrowed amounts included.
        kept: Part of the entitlement that is never lent.
        measured: What measured requests would take beyond what is reserved, if there were enough. It is not
            lent as far as the tenant is entitled to it.
    """

    nominal: float
    most: float
    kept: float
    measured: float = 0.0

    def unlent(self, used: float) -> float:
        """Returns what is left for the tenant alone of its entitlement, of which it uses so much."""
        return max(self.kept, min(self.nominal, used + self.measured)) - used


def units(problem: PoolProblem) -> dict[Resource, float]:
    """Returns in how many units of tenants' amounts a resource is counted, where that is not one."""
    return {Resource(Kind.CPU, one.name): one.cores for one in problem.nodes}


def claims(
    problem: PoolProblem,
    limits: Mapping[Resource, float],
    measured: Mapping[tuple[str, Resource], float] = MappingProxyType({}),
) -> dict[Resource, dict[str, Claim]]:
    """Returns the entitlements of a pool's tenants, by resource with a finite capacity and by tenant.

    measured: What measured requests of tenants would take beyond what is reserved.
    """
    servers = {one.name for one in problem.servers}
    resources = [one for one in sorted(limits) if isfinite(limits[one])]
    kinds = [kind_of(one, servers) for one in resources]
    tenants = sharing_tenants(problem, limits)
    found = entitlements_to(tenants, np.array([limits[one] for one in resources]), kinds)
    return {
        resource: {
            tenant.name: Claim(
                float(found.nominal[number, row]),
                float(found.most[number, row]),
                float(found.kept[number, row]),
                measured.get((tenant.name, resource), 0.0),
            )
            for number, tenant in enumerate(tenants)
        }
        for row, resource in enumerate(resources)
    }


def sharing_tenants(problem: PoolProblem, limits: Mapping[Resource, float]) -> tuple[Tenant, ...]:
    """Returns the tenants as a joint choice needs them, which sees only some resources of the pool.

    Amounts over the pool become shares of each resource, and priorities count from 0.
    """
    servers = {one.name for one in problem.servers}
    unit = units(problem)
    sizes: dict[ResourceKind, list[float]] = {}
    for resource, amount in limits.items():
        if isfinite(amount):
            sizes.setdefault(kind_of(resource, servers), []).append(amount * unit.get(resource, 1.0))

    def shares(quotas: Mapping[ResourceKind, Quota]) -> dict[ResourceKind, Quota]:
        return {
            kind: Share(quota.of(np.array(sizes.get(kind, [0.0])))) if isinstance(quota, Amount) else quota
            for kind, quota in quotas.items()
        }

    return tuple(
        replace(
            one,
            nominal=shares(one.nominal),
            borrowing_limit=shares(one.borrowing_limit),
            lending_limit=shares(one.lending_limit),
            priority_ceiling=None if one.priority_ceiling is None else LIMIT + one.priority_ceiling,
        )
        for one in problem.owners
    )


class Accounts:
    """What each tenant uses; a part of memory counts once for each tenant that uses it."""

    def __init__(
        self, claimed: Mapping[Resource, Mapping[str, Claim]], capacity: Mapping[Resource, float]
    ) -> None:
        self.claims, self.capacity = claimed, capacity
        self._used: dict[tuple[str, Resource], float] = {}
        self._parts: Counter[tuple[str, Part]] = Counter()
        self._limited = {
            resource: tuple(
                name for name, one in each.items() if isfinite(one.most) or one.kept or one.measured
            )
            for resource, each in claimed.items()
        }
        """Tenants with a borrowing or a lending limit, or with measured requests."""
        self._any = any(self._limited.values())

    def used(self, owner: str, resource: Resource) -> float:
        """Returns the amount that a tenant uses."""
        return self._used.get((owner, resource), 0.0)

    def borrows(self, owner: str, resource: Resource) -> bool:
        """Returns whether a tenant uses more than it is entitled to."""
        nominal = self.claim(owner, resource).nominal
        return self.used(owner, resource) > nominal * (1 + TOLERANCE)

    def claim(self, owner: str, resource: Resource) -> Claim:
        """Returns what a tenant is entitled to; without limits of a resource without a capacity."""
        return self.claims.get(resource, {}).get(owner, _UNLIMITED)

    def left(self, owner: str, resource: Resource, free: float) -> float:
        """Returns how much of what is free a tenant can use; negative if it uses too much."""
        most = self.claim(owner, resource).most - self.used(owner, resource)
        return min(most, free - self._kept_from(owner, resource))

    def limited(self, owner: str, resource: Resource, free: float) -> bool:
        """Returns whether the tenant's borrowing limit leaves less than others do."""
        most = self.claim(owner, resource).most - self.used(owner, resource)
        return most < free - self._kept_from(owner, resource)

    def binding(self, held: Held, total: Mapping[Resource, float]) -> Resource | None:
        """Returns the first resource of which the demand's tenant could not use so much; None if it could.

        total: What all tenants use.
        """
        if not self._any:
            return None
        owner, asked = held.demand.owner, self._asked(held)
        for resource in sorted(asked):
            more = asked[resource]
            if more > 0 and self._limited.get(resource):
                own, claim = self.used(owner, resource) + more, self.claim(owner, resource)
                if own > claim.most * (1 + TOLERANCE):
                    return resource
                if own > claim.nominal and self._beyond(owner, resource, total.get(resource, 0.0) + more):
                    return resource
        return None

    def entitled(self, held: Held) -> bool:
        """Returns whether the demand's tenant would use no more of anything than it is entitled to."""
        owner = held.demand.owner
        return all(
            self.used(owner, resource) + more <= self.claim(owner, resource).nominal * (1 + TOLERANCE)
            for resource, more in self._asked(held).items()
            if more > 0
        )

    def _asked(self, held: Held) -> dict[Resource, float]:
        """Returns how much more of each resource the demand's tenant would use."""
        asked = dict(held.uses())
        for part, size in held.reserved.parts.items():
            if not self._parts[held.demand.owner, part]:
                asked[part.memory] = asked.get(part.memory, 0.0) + size
        return asked

    def exceeded(self, resource: Resource, total: float) -> bool:
        """Returns whether a tenant uses more than it may. total: What all tenants use."""
        if not self._limited.get(resource):
            return False
        return any(
            self.used(name, resource) > claim.most * (1 + TOLERANCE)
            or (self.borrows(name, resource) and self._beyond(name, resource, total))
            for name, claim in self.claims[resource].items()
        )

    def kept(self, resource: Resource, more: Mapping[str, float]) -> float:
        """Returns what tenants neither use nor lend. more: What they use beside reservations, by tenant."""
        return sum(
            max(self.claims[resource][name].kept - self.used(name, resource) - more.get(name, 0.0), 0.0)
            for name in self._limited.get(resource, ())
        )

    def change(self, held: Held, sign: int) -> None:
        """Adds or removes what a demand holds."""
        owner = held.demand.owner
        for resource, amount in held.uses():
            self.add(owner, resource, sign * amount)
        for part, size in held.reserved.parts.items():
            before = self._parts[owner, part]
            self._parts[owner, part] += sign
            if not before or not self._parts[owner, part]:
                self.add(owner, part.memory, sign * size)

    def add(self, owner: str, resource: Resource, amount: float) -> None:
        """Adds an amount to what a tenant uses."""
        self._used[owner, resource] = self.used(owner, resource) + amount

    def _beyond(self, owner: str, resource: Resource, total: float) -> bool:
        """Returns whether so much in use, by a tenant that borrows, takes what others never lend."""
        return total + self._kept_from(owner, resource) > self.capacity[resource] * (1 + TOLERANCE)

    def _kept_from(self, owner: str, resource: Resource) -> float:
        """Returns what other tenants neither use nor lend."""
        return sum(
            max(self.claims[resource][name].unlent(self.used(name, resource)), 0.0)
            for name in self._limited.get(resource, ())
            if name != owner
        )


_UNLIMITED = Claim(inf, inf, 0.0)
