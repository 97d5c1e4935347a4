"""Tenants, resources, candidates and demands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from edge_planning.errors import require
from edge_planning.sharing.quotas import Quota, ResourceKind


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the pool.

    `share` reads the weight and the reference, `share_by_entitlement` all but the reference.

    Attributes:
        weight: Its weight relative to the other tenants; 0: last.
        reference: Utility of level 1. Default: the utility that the tenant could have with the whole pool.
        nominal: Its entitlement by kind of resource. Default: the weight over the sum of weights.
        borrowing_limit: How much it can use beyond that. Default: all that others lend.
        lending_limit: How much of its entitlement others can use while it is idle. Default: all of it.
        priority_ceiling: Highest priority of its demands that counts against others. Default: no limit.
    """

    name: str
    weight: float = 1.0
    reference: float | None = None
    nominal: Mapping[ResourceKind, Quota] = field(default_factory=dict, hash=False)
    borrowing_limit: Mapping[ResourceKind, Quota] = field(default_factory=dict, hash=False)
    lending_limit: Mapping[ResourceKind, Quota] = field(default_factory=dict, hash=False)
    priority_ceiling: int | None = None

    def __post_init__(self) -> None:
        require(
            isfinite(self.weight) and self.weight >= 0,
            f"tenant {self.name}: weight {self.weight} must be finite and >= 0",
        )
        require(
            self.reference is None or (isfinite(self.reference) and self.reference >= 0),
            f"tenant {self.name}: reference {self.reference} must be finite and >= 0",
        )

    @property
    def has_quota(self) -> bool:
        """Whether more than the weight limits or entitles it."""
        limited = self.nominal or self.borrowing_limit or self.lending_limit
        return bool(limited) or self.priority_ceiling is not None


@dataclass(frozen=True, slots=True)
class SharedResource:
    """A limited resource: a node's CPU seconds per second or bytes, an uplink's bit/s, Triton's busy time.

    Tenants have quotas for its kind; without a kind, their entitlements follow from weights.
    """

    name: str
    capacity: float
    kind: ResourceKind | None = None

    def __post_init__(self) -> None:
        require(
            isfinite(self.capacity) and self.capacity >= 0,
            f"resource {self.name}: capacity {self.capacity} must be finite and >= 0",
        )


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate of a demand.

    Attributes:
        value: Accuracy of the responses in time (0: late).
        uses: Amount of each resource, for all requests of the demand together, in the resource's unit.
    """

    value: float
    uses: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """A service at an entry node: exactly one candidate serves it, or it is refused.

    Attributes:
        rate: Requests per second.
        priority: Higher priorities are refused last and weigh more.
        current: Position of the candidate in use, or None.
    """

    service: str
    node: str
    tenant: str
    options: tuple[Option, ...]
    rate: float = 1.0
    priority: int = 100
    current: int | None = None

    @property
    def name(self) -> str:
        return f"{self.service}@{self.node}"
