"""What a policy is asked, what it answers, and what it may learn."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from edge_planning_lab.baselines.options import Options


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its entry node sees it.

    wait: seconds until the node can begin with it. backlog: bits that wait for the uplink before its own.
    """

    options: Options
    wait: float = 0.0
    backlog: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Which candidate is to answer, and which local one stands in when that would be late (None: nothing).

    begin: seconds after the request's arrival at which the node begins to compute the stand-in, if the reply
    is not there; None: at the last moment at which that still helps. within: seconds after the arrival at
    which the hop is given up and the stand-in goes out; None: at the deadline.
    """

    index: int
    insurance: int | None = None
    begin: float | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A transfer of the node's own, or a probe: bits that crossed the link while it had the link alone.

    complete: False when it was given up; bits are then those that had crossed by that time.
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


class Hop(StrEnum):
    """How a hop ended: answered, given up for taking too long, or never begun."""

    OK = "ok"
    LATE = "late"
    NOTHING = "nothing"


class Policy(Protocol[State]):
    """How a service decides at one entry node. Pure: what is remembered is the state, handed in and back.

    A policy knows its options, its own measurements and the queues of its own node; never the trace.
    """

    @property
    def name(self) -> str: ...

    @property
    def probes(self) -> bool:
        """Whether the link is to be probed for it while it is not in use."""
        ...

    def start(self, options: Options) -> State:
        """What is known before the first request."""
        ...

    def decide(self, request: Request, state: State, now: float) -> tuple[Answer, State]: ...

    def observe(self, measurement: Measurement, state: State, now: float) -> State: ...


@runtime_checkable
class HearsHops(Protocol[State]):
    """A policy that is told how each of its hops ended."""

    def ended(self, answer: Answer, hop: Hop, state: State, now: float) -> State: ...
