"""The plan of a pool."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_planning.plans import Infeasible, Plan
from edge_planning.pools.questions import Questions
from edge_planning.pools.reservations import Reservation, Resource
from edge_planning.pools.values import PoolProblem
from edge_planning.sharing import Kept, ResourceKind, Shortage


@dataclass(frozen=True, slots=True)
class Room:
    """What would make room for a demand; each alone suffices, with what the others hold now.

    Attributes:
        rate: The highest rate in requests per second with which it fits; None if no rate does.
        latency: The shortest spec.slo.latency in seconds with which a candidate that fits is in time; None if
            no latency helps.
        accuracy: The highest spec.slo.minAccuracy with which it fits; None if no accuracy helps.
        remove: Demands without which it fits: of no higher priority, the fewest first; empty if none helps.
    """

    rate: float | None = None
    latency: float | None = None
    accuracy: float | None = None
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TenantUse:
    """What the tenant of a demand uses of the resource that binds.

    Attributes:
        used, nominal: Use and entitlement, in the resource's unit.
        limited: Whether the tenant's borrowing limit binds.
    """

    tenant: str
    used: float
    nominal: float
    limited: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a demand has no route table, or not the one that it would have alone.

    Attributes:
        message: One sentence for people, with the numbers below.
        resource: What binds; None if the demand could not be served in an empty pool either.
        asked, left, capacity: Amounts of it, in compute seconds per second, bytes or bit/s.
        users: How much of it the 20 largest users use, by name, the largest first. Memory that several use
            counts for each of them.
        room: What would make room.
        infeasible: The plan without others, if that is infeasible.
        claim: What its tenant uses of the resource; None if tenants do not share by entitlement.
        waiting: Whether the better table only waits for `moves` of plan_pool.
    """

    message: str
    resource: Resource | None = None
    asked: float = 0.0
    left: float = 0.0
    capacity: float = 0.0
    users: tuple[tuple[str, float], ...] = ()
    room: Room = Room()
    infeasible: Infeasible | None = None
    claim: TenantUse | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """The route table of a demand.

    Attributes:
        plan: As plan_entry returns it.
        server: The Triton server of its tails; None if it has none.
        reservation: What it holds.
        in_time: Whether the planned route meets the SLO with the load of all demands.
        short: Why it has less than it would have alone; None if it has that.
    """

    plan: Plan
    server: str | None
    reservation: Reservation
    in_time: bool = True
    short: Refusal | None = None


@dataclass(frozen=True, slots=True)
class PoolShare:
    """A tenant's part of a pool.

    Attributes:
        kinds: Amounts by kind, over all nodes or servers; of CPU in cores.
        dominant: Largest part of any one resource that it uses.
        borrowed: Largest part of any one resource that it uses beyond its entitlement.
        weighted: That over the weight; inf if it borrows with weight 0.
        services: Number of services that are planned.
        shortages: What they lack, refusals first, then by the number of services.
    """

    name: str
    kinds: Mapping[ResourceKind, Kept]
    dominant: float
    borrowed: float
    weighted: float
    services: int
    shortages: tuple[Shortage, ...]

    @property
    def refused(self) -> int:
        """Number of services that are refused at an entry node."""
        return len({name for one in self.shortages if one.refused for name in one.services})

    @property
    def stepped_down(self) -> int:
        """Number of services that have less at an entry node than they would have alone."""
        return len({name for one in self.shortages if not one.refused for name in one.services})


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A route table or a refusal for every demand, by PoolDemand.name.

    Attributes:
        used: Total use of each resource.
        contended: Whether a demand is refused or has less than it would have alone.
        moved: Demands whose table or server differs from the previous plan.
        tenants: What each tenant has, by name; empty if tenants do not share by entitlement.
        spent: Moves for accuracy alone, which `moves` of plan_pool limits.
        waiting: Demands for whose moves `moves` does not suffice.
        questions: Tables that were planned for this plan and those before it, for the next one.
    """

    problem: PoolProblem
    placed: Mapping[str, Placed]
    refused: Mapping[str, Refusal]
    used: Mapping[Resource, float]
    contended: bool = False
    moved: tuple[str, ...] = ()
    tenants: tuple[PoolShare, ...] = ()
    spent: int = 0
    waiting: tuple[str, ...] = ()
    questions: Questions = field(default_factory=Questions, compare=False, repr=False)
