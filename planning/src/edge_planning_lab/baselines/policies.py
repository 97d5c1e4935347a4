"""The interface of a policy: requests, its choices, and its measurements."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from edge_planning_lab.baselines.options import SimulatedCandidates


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its entry node sees it.

    wait: seconds until the node can start it. backlog: bits in the uplink's queue before its own.
    """

    options: SimulatedCandidates
    wait: float = 0.0
    backlog: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The chosen candidate, and the local one for the fallback if its response would be late (None: none).

    begin: seconds after the request's arrival at which the node starts the fallback if no response has
    arrived; None: the latest possible time. within: seconds after the arrival at which the hop is aborted and
    the fallback's response is sent; None: the deadline.
    """

    index: int
    fallback: int | None = None
    begin: float | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A transfer of the node or a probe: the bits that crossed the link, without other transfers on it.

    complete: False if it was aborted; `bits` are then those that crossed before.
    """

    seconds: float
    bits: float
    complete: bool = True
    probe: bool = False

    @property
    def rate(self) -> float:
        """bit/s."""
        return self.bits / self.seconds if self.seconds > 0 else 0.0


State = TypeVar("State")


class HopOutcome(StrEnum):
    """How a hop ended: with a response, aborted after its time limit, or not started."""

    OK = "ok"
    LATE = "late"
    NOTHING = "nothing"


class Policy(Protocol[State]):
    """How a service decides at one entry node. Pure: the state is passed in and returned.

    A policy knows its candidates, its own measurements and the queues of its own node, but not the trace.
    """

    @property
    def name(self) -> str: ...

    @property
    def probes(self) -> bool:
        """Whether an unused link is probed for this policy."""
        ...

    def start(self, options: SimulatedCandidates) -> State:
        """Returns the state before the first request."""
        ...

    def decide(self, request: Request, state: State, now: float) -> tuple[Answer, State]: ...

    def observe(self, measurement: Measurement, state: State, now: float) -> State: ...


@runtime_checkable
class ObservesHops(Protocol[State]):
    """A policy that observes how each of its hops ended."""

    def ended(self, answer: Answer, hop: HopOutcome, state: State, now: float) -> State: ...
