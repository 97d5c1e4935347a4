"""The interface of a policy: requests, its choices, and its measurements."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from edge_planning_lab.baselines.options import Options


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its entry node sees it.

    wait: seconds until the node can start it. backlog: bits in the uplink's queue before its own.
    """

    options: Options
    wait: float = 0.0
    backlog: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The chosen candidate, and the local one for the fallback if its response would be late (None: none).

    eager: the node computes the fallback as early as possible; otherwise at the latest possible time, if no
    response has arrived by then.
    """

    index: int
    insurance: int | None = None
    eager: bool = False


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

    def start(self, options: Options) -> State:
        """Returns the state before the first request."""
        ...

    def decide(self, request: Request, state: State, now: float) -> tuple[Answer, State]: ...

    def observe(self, measurement: Measurement, state: State, now: float) -> State: ...
