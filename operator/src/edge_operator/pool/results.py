"""What the steps of a service found, kept until something that they read has changed. Values."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_api import DevicePool, Placement
from edge_api.first_requests import FirstRequestsTurn
from edge_api.rollouts import ModelStatus
from edge_operator.conditions import Blocked, Finding
from edge_operator.pool.actions import Write
from edge_operator.pool.facts import Fact, Need
from edge_operator.pool.shapes import PlannedShape
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import CodecAccuracies, DeviceProfile, ModelCard


@dataclass(frozen=True, slots=True)
class Ready:
    """A service that can be planned.

    Attributes:
        costs: With the model metadata, at the shape that is planned for, if more than the batch is open.
        shape: That shape; None if only the batch is open.
        measured: The costs at each measured shape; None if only the batch is open.
    """

    card: ModelCard
    costs: Mapping[str, DeviceProfile]
    accuracies: CodecAccuracies | None
    pool: DevicePool
    recorded: bool
    shape: PlannedShape | None = None
    measured: Mapping[str, DeviceProfile] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the first steps of a service found, and from what; it holds until one of these changes.

    Attributes:
        inputs: What the steps read besides facts.
        facts: The facts that they read.
        until: When they must be run again in any case, in seconds of the monotonic clock.
        result: What can be planned; or why nothing can.
        other fields: As in the Draft.
    """

    inputs: tuple[object, ...]
    facts: Mapping[Need[object], Fact | None]
    until: float
    result: Ready | Blocked
    members: tuple[PoolMember, ...]
    pool: tuple[PoolMember, ...]
    resolved: ModelStatus | None
    unmeasured: Blocked | None
    first_requests: Mapping[str, FirstRequestsTurn]
    findings: tuple[Finding, ...]
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The Placements of a service, or why it has no tables.

    Attributes:
        inputs: What they were made from, besides facts.
        facts: The facts that were read.
        finding: The condition Planned, if there are tables.
        other fields: As in the Draft.
    """

    inputs: tuple[object, ...]
    facts: Mapping[Need[object], Fact | None]
    result: tuple[Placement, ...] | Blocked
    finding: Finding | None
    infeasible: Mapping[str, str]
    withheld: Mapping[str, Blocked]
    replaceable: frozenset[str]
    servers: str
