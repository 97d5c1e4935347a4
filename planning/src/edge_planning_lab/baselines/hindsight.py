"""What could have been: policies that know the trace, as bounds for those that do not."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_planning.choosing.candidates import Floats
from edge_planning_lab.baselines.options import Options
from edge_planning_lab.baselines.policies import Answer, Measurement, Request


class Link(Protocol):
    """A link whose future is known."""

    def finish(self, start: float, bits: float) -> float: ...

    def finish_many(self, starts: Floats, bits: Floats | float) -> Floats: ...


def alone(link: Link, options: Options, arrivals: Floats) -> Floats:
    """[candidates, requests]: seconds that each request would take, were it the only one."""
    rows = [
        link.finish_many(arrivals + options.head[i], float(options.bits[i]))
        + options.tail[i]
        + options.fixed[i]
        - arrivals
        for i in range(len(options))
    ]
    return np.array(rows)


def worth(link: Link, options: Options, arrivals: Floats) -> Floats:
    """[candidates, requests]: the accuracy where that is in time, else 0."""
    in_time = alone(link, options, arrivals) <= options.deadline
    return np.where(in_time, options.accuracy[:, None], 0.0)


def clairvoyant(link: Link, options: Options, arrivals: Floats) -> tuple[Floats, Floats]:
    """(utility, index of the candidate) of each request when the best is chosen for it and it is alone.

    An upper bound for every policy with the same candidates: a request that waits behind others, or that is
    answered by the insurance, is never faster than the same candidate alone.
    """
    values = worth(link, options, arrivals)
    best = values.argmax(axis=0)
    return values.max(axis=0), best


def ranked_splits(link: Link, options: Options, arrivals: Floats) -> list[int]:
    """All candidates, the one with the highest mean utility over the whole trace first."""
    values = worth(link, options, arrivals).mean(axis=1)
    return [int(i) for i in np.lexsort((options.intercept, -values))]


@dataclass(frozen=True, slots=True)
class Oracle:
    """Chooses for each request the most accurate candidate that will be in time, the fastest of them.

    It knows the link's future and its own queue, not the requests to come, so as a policy under load it is
    no bound; `clairvoyant` is.
    """

    link: Link
    name: str = "oracle"
    probes: bool = False

    def start(self, options: Options) -> None:
        return None

    def decide(self, request: Request, state: None, now: float) -> tuple[Answer, None]:
        options = request.options
        best, key = 0, (-1.0, 0.0)
        for i in range(len(options)):
            head, bits = float(options.head[i]), float(options.bits[i])
            ready = now + (request.wait if head > 0 else 0.0) + head
            behind = self.link.finish(now, request.backlog) if bits and request.backlog else ready
            done = self.link.finish(max(ready, behind), bits) + options.tail[i] + options.fixed[i] - now
            accuracy = float(options.accuracy[i]) if done <= options.deadline else 0.0
            if (accuracy, -done) > key:
                best, key = i, (accuracy, -done)
        return Answer(best), None

    def observe(self, measurement: Measurement, state: None, now: float) -> None:
        return None
