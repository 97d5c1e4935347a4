"""Quotas of tenants: which part of a kind of resource, or how much of it over the pool."""

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from edge_planning.errors import require
from edge_planning.sharing.arrays import Floats


class ResourceKind(StrEnum):
    """Kinds of resources for which a tenant can have a quota."""

    CPU = "cpu"
    MEMORY = "memory"
    UPLINK = "uplink"
    TRITON_TIME = "tritonTime"
    TRITON_MEMORY = "tritonMemory"


@dataclass(frozen=True, slots=True)
class Share:
    """A part, 0 to 1, of every resource of a kind."""

    part: float

    def __post_init__(self) -> None:
        require(0 <= self.part <= 1, f"share {self.part} must be between 0 and 1")

    def of(self, capacity: Floats) -> float:
        """Returns the part of each resource, given the capacities of all resources of the kind."""
        return self.part


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount over the pool, in the unit of the kind; the same part of every resource of the kind."""

    total: float

    def __post_init__(self) -> None:
        require(isfinite(self.total) and self.total >= 0, f"amount {self.total} must be finite and >= 0")

    def of(self, capacity: Floats) -> float:
        """Returns the part of each resource, given the capacities of all resources of the kind."""
        whole = float(capacity.sum())
        return min(self.total / whole, 1.0) if whole > 0 else 0.0


Quota = Share | Amount
