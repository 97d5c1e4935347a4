"""Who shares what: tenants, resources, options and demands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class Tenant:
    """weight: its share of the pool against the others'. reference: the utility that level 1 stands for.

    Without a reference, it is what the tenant could have with the whole pool for itself.
    """

    name: str
    weight: float = 1.0
    reference: float | None = None

    def __post_init__(self) -> None:
        require(
            isfinite(self.weight) and self.weight > 0,
            f"tenant {self.name}: weight {self.weight} is not a number above 0",
        )
        require(
            self.reference is None or (isfinite(self.reference) and self.reference >= 0),
            f"tenant {self.name}: reference {self.reference} is negative or not a number",
        )


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing with a limit: a node's CPU seconds per second or bytes, an uplink's bit/s, Triton's time."""

    name: str
    capacity: float

    def __post_init__(self) -> None:
        require(
            isfinite(self.capacity) and self.capacity >= 0,
            f"resource {self.name}: capacity {self.capacity} is negative or not a number",
        )


@dataclass(frozen=True, slots=True)
class Option:
    """One way to serve a demand.

    value: accuracy of the answers that come in time (0: late). uses: what it takes of each resource, for all
    of the demand's requests together, in the resource's unit.
    """

    value: float
    uses: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """A service at an entry node: exactly one option serves it, or it is refused.

    rate: requests per second. priority: higher ones are refused last, and weigh more. current: the option
    (its position) that serves it now; None when none does.
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
