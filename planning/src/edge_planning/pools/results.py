"""The plan of a pool."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_planning.plans import Infeasible, Plan
from edge_planning.pools.reservations import Reservation, Resource
from edge_planning.pools.values import PoolProblem


@dataclass(frozen=True, slots=True)
class Placed:
    """The route table of a demand.

    Attributes:
        server: The Triton server of its tails; None if it has none.
        reservation: What it holds.
        allowed: The longest waits with which its planned route is in time, by place.
        in_time: Whether the waits are within those allowed.
    """

    plan: Plan
    server: str | None
    reservation: Reservation
    allowed: Mapping[str, float] = field(default_factory=dict)
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a demand has no route table.

    Attributes:
        resource: What binds; None if the demand could not be served in an empty pool either.
        asked, left: Amounts of it.
        users: The demands that use it, the largest first.
        remedy: What would make room.
        infeasible: The plan without others, if that is infeasible.
    """

    message: str
    resource: Resource | None = None
    asked: float = 0.0
    left: float = 0.0
    users: tuple[str, ...] = ()
    remedy: str = ""
    infeasible: Infeasible | None = None


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A route table or a refusal for every demand, by PoolDemand.name.

    Attributes:
        contended: Whether a demand is refused or has less than it would have alone.
        moved: Demands whose table or server differs from the previous plan.
    """

    problem: PoolProblem
    placed: Mapping[str, Placed]
    refused: Mapping[str, Refusal]
    used: Mapping[Resource, float]
    contended: bool = False
    moved: tuple[str, ...] = ()
