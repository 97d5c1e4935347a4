"""The requests of a node as an oracle knows them: when each arrives, and what the link will carry.

A schedule is a sequence of requests, each with the candidate that responds to it. The node computes heads in
the order of the sequence, one at a time, and can wait for a request that has not arrived yet. The link
carries their transfers in the same order. The utility of a request is the accuracy of its response if that is
in time, otherwise 0; a request that is not in the schedule is worth nothing and takes no time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_planning.choosing.candidates import Floats
from edge_planning.errors import require
from edge_planning_lab.baselines.hindsight import KnownLink
from edge_planning_lab.baselines.options import SimulatedCandidates

NEARLY = 0.002
"""Seconds by which a candidate must beat a more accurate one in the time of node or server to be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownRequests:
    """Requests by arrival, and the candidates of their services.

    Attributes:
        arrived, due: Seconds [requests]; a response after `due` is late.
        service: Index of its service [requests].
        head: Seconds at the node [services, candidates]; infinite where a service has fewer candidates.
        bits: Sent over the link [services, candidates]; 0 if local.
        after: Seconds after the transfer, or after the head if local [services, candidates].
        accuracy: [services, candidates].
        link: Its bandwidth over time.
    """

    arrived: Floats
    due: Floats
    service: npt.NDArray[np.int64]
    head: Floats
    bits: Floats
    after: Floats
    accuracy: Floats
    link: KnownLink

    def __len__(self) -> int:
        return len(self.arrived)

    def part(self, first: int, count: int) -> "KnownRequests":
        """Returns `count` consecutive requests, with the same link."""
        kept = slice(first, first + count)
        return KnownRequests(
            self.arrived[kept],
            self.due[kept],
            self.service[kept],
            self.head,
            self.bits,
            self.after,
            self.accuracy,
            self.link,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """A request of a schedule, and the index of its candidate."""

    request: int
    candidate: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Served requests in order, and the sum of their accuracies."""

    utility: float
    decisions: tuple[Decision, ...]


def known_requests(
    options: Sequence[SimulatedCandidates], arrivals: Sequence[Floats], link: KnownLink
) -> KnownRequests:
    """Returns the requests of services with these candidates and arrivals (seconds, ascending)."""
    require(len(options) == len(arrivals), f"{len(options)} services, but arrivals of {len(arrivals)}")
    most = max(len(one) for one in options)

    def columns(found: Sequence[Floats], missing: float) -> Floats:
        return np.array([np.append(one, np.full(most - len(one), missing)) for one in found])

    service = np.repeat(np.arange(len(options)), [len(times) for times in arrivals])
    arrived = np.concatenate([np.asarray(times, dtype=np.float64) for times in arrivals])
    deadlines = np.array([one.deadline for one in options])
    order = np.lexsort((service, arrived))
    return KnownRequests(
        arrived=arrived[order],
        due=(arrived + deadlines[service])[order],
        service=service[order],
        head=columns([one.head for one in options], np.inf),
        bits=columns([one.bits for one in options], 0.0),
        after=columns([one.tail + one.fixed for one in options], 0.0),
        accuracy=columns([one.accuracy for one in options], 0.0),
        link=link,
    )


def worthwhile(options: SimulatedCandidates, nearly: float = NEARLY) -> SimulatedCandidates:
    """Returns the candidates that may be in time and that no other of at least their accuracy replaces.

    Another replaces a candidate if it sends no more, and takes at most `nearly` seconds more of the node, and
    of the time after the transfer.
    """
    after = options.tail + options.fixed
    kept: list[int] = []
    for i in np.lexsort((after, options.head, options.bits, -options.accuracy)).tolist():
        if options.head[i] + after[i] <= options.deadline and not any(
            options.bits[j] <= options.bits[i]
            and options.head[j] <= options.head[i] + nearly
            and after[j] <= after[i] + nearly
            for j in kept
        ):
            kept.append(i)
    found = np.array(kept, dtype=np.int64)
    return SimulatedCandidates(
        names=tuple(options.names[i] for i in kept),
        exit=tuple(options.exit[i] for i in kept),
        head=options.head[found],
        tail=options.tail[found],
        fixed=options.fixed[found],
        bits=options.bits[found],
        accuracy=options.accuracy[found],
        deadline=options.deadline,
        rest=options.rest[np.ix_(found, found)],
        power=options.power,
    )
