"""Policies that know the trace, as bounds for those that do not."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_planning.choosing.candidates import Floats
from edge_planning_lab.baselines.options import SimulatedCandidates
from edge_planning_lab.baselines.policies import Answer, Measurement, Request


class KnownLink(Protocol):
    """A link whose future is known."""

    def finish(self, start: float, bits: float) -> float: ...

    def finish_many(self, starts: Floats, bits: Floats | float) -> Floats: ...


def alone(link: KnownLink, options: SimulatedCandidates, arrivals: Floats) -> Floats:
    """Returns the latency of each request in seconds if it were the only one [candidates, requests]."""
    rows = [
        link.finish_many(arrivals + options.head[i], float(options.bits[i]))
        + options.tail[i]
        + options.fixed[i]
        - arrivals
        for i in range(len(options))
    ]
    return np.array(rows)


def worth(link: KnownLink, options: SimulatedCandidates, arrivals: Floats) -> Floats:
    """Returns the accuracy if that latency is in time, otherwise 0 [candidates, requests]."""
    in_time = alone(link, options, arrivals) <= options.deadline
    return np.where(in_time, options.accuracy[:, None], 0.0)


def clairvoyant(link: KnownLink, options: SimulatedCandidates, arrivals: Floats) -> tuple[Floats, Floats]:
    """Returns (utility, candidate index) of each request with the best candidate and without queues.

    This is an upper bound for every policy with the same candidates: a request that waits for others, or that
    gets the fallback's response, is never faster than the same candidate alone.
    """
    values = worth(link, options, arrivals)
    best = values.argmax(axis=0)
    return values.max(axis=0), best


def ranked_splits(link: KnownLink, options: SimulatedCandidates, arrivals: Floats) -> list[tuple[int, float]]:
    """Returns all candidates with their summed utility without queues, the highest first.

    With queues, a candidate's utility is never higher.
    """
    values = worth(link, options, arrivals).sum(axis=1)
    return [(int(i), float(values[i])) for i in np.lexsort((options.intercept, -values))]


@dataclass(frozen=True, slots=True)
class Oracle:
    """Chooses for each request the most accurate candidate that will be in time, the fastest of equals.

    It knows the link's future and its own queue, but not future requests. Under load it is therefore not a
    bound; `clairvoyant` is. A request that cannot be in time uses neither node nor link, if a candidate
    without a part at the node exists.

    Attributes:
        node_price, link_price: Accuracy that a second of the node's, of the link's time must add. With
            prices, requests leave room for later ones.
    """

    link: KnownLink
    name: str = "oracle"
    probes: bool = False
    node_price: float = 0.0
    link_price: float = 0.0

    def start(self, options: SimulatedCandidates) -> None:
        return None

    def decide(self, request: Request, state: None, now: float) -> tuple[Answer, None]:
        options = request.options
        best, key = None, (0.0, 0.0)
        for i in range(len(options)):
            head, bits = float(options.head[i]), float(options.bits[i])
            ready = now + (request.wait if head > 0 else 0.0) + head
            behind = self.link.finish(now, request.backlog) if bits and request.backlog else ready
            begin = max(ready, behind)
            crossed = self.link.finish(begin, bits)
            done = crossed + options.tail[i] + options.fixed[i] - now
            if done > options.deadline:
                continue
            price = self.node_price * head + self.link_price * (crossed - begin)
            gain = float(options.accuracy[i]) - price
            if best is None or (gain, -done) > key:
                best, key = i, (gain, -done)
        if best is None or key[0] < 0:
            return self._dropped(options), None
        return Answer(best), None

    @staticmethod
    def _dropped(options: SimulatedCandidates) -> Answer:
        """Returns a hop without time, or the fastest local candidate if all candidates use the node."""
        free = np.flatnonzero((options.head == 0) & (options.bits > 0))
        if len(free):
            return Answer(int(free[0]), within=0.0)
        return Answer(int(np.argmin(options.intercept)))

    def observe(self, measurement: Measurement, state: None, now: float) -> None:
        return None
