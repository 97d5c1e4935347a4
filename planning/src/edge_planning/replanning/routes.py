"""Ways to answer, as numbers: what a choice under an uncertain bandwidth needs of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning.errors import require
from edge_planning.plans import Route, RouteTable
from edge_planning.replanning.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Routes or any other candidates; arrays are [routes].

    seconds: latency without the transfer (margin and round trip included). bits: what crosses the link; 0:
    the route needs no link. accuracy: of its answer. fallback: accuracy of the answer that goes out at the
    deadline when this route's is late; 0: nothing does, the request is missed. deadline: seconds. rtt: the
    round trip that `seconds` holds, None where that is not known.
    """

    names: tuple[str, ...]
    seconds: Floats
    bits: Floats
    accuracy: Floats
    fallback: Floats
    deadline: float
    rtt: float | None = None

    def __post_init__(self) -> None:
        require(len(self.names) > 0, "no route to choose from")
        require(self.deadline > 0, f"deadline {self.deadline} s")
        require(self.rtt is None or 0 <= self.rtt < math.inf, f"rtt {self.rtt} s is no time")
        for name in ("seconds", "bits", "accuracy", "fallback"):
            column = getattr(self, name)
            require(column.shape == (len(self.names),), f"{name} has the shape {column.shape}")
            most = 1.0 if name in ("accuracy", "fallback") else math.inf
            good = bool(np.all((column >= 0) & (column <= most)))
            require(good, f"{name} {column.tolist()} has one too low, too high or no number")

    def __len__(self) -> int:
        return len(self.names)

    def thresholds(self, delay: float = 0.0) -> Floats:
        """Bandwidth (bit/s) from which each keeps the deadline, 0: always, infinite: never.

        delay: how many seconds longer the round trip is than the plan thought.
        """
        remote = self.bits > 0
        slack = self.deadline - self.seconds - np.where(remote, delay, 0.0)
        late = np.where(remote, slack <= 0, slack < 0)
        return np.where(late, np.inf, self.bits / np.where(late | ~remote, 1.0, slack))


def routes_of(
    names: Sequence[str],
    seconds: Sequence[float],
    bits: Sequence[float],
    accuracy: Sequence[float],
    *,
    deadline: float,
    fallback: Sequence[float] | None = None,
    rtt: float | None = None,
) -> Routes:
    """Routes from plain sequences."""
    columns = (seconds, bits, accuracy, [0.0] * len(names) if fallback is None else fallback)
    first, second, third, fourth = (np.asarray(column, dtype=np.float64) for column in columns)
    return Routes(tuple(names), first, second, third, fourth, deadline, rtt)


def routes_of_table(table: RouteTable, *, insured: bool = False, rtt: float | None = None) -> Routes:
    """The routes of a table, in its order.

    A route's latency is known at one bandwidth and its threshold at another; both give back the deadline and
    the seconds without transfer. insured: a late remote answer is replaced by the local route's, where that
    keeps the deadline itself (the runtime computes it beside).
    """
    deadline = next((_deadline(route) for route in table.routes if route.met_from and route.bits), None)
    local = [route for route in table.routes if not route.bits]
    if deadline is None:  # no remote route ever keeps it: only who is late and who is not matters
        kept = [route.latency for route in local if route.met_from == 0]
        deadline = max(kept) if kept else min(route.latency for route in table.routes) / 2
    stand_in = max((route.accuracy for route in local if route.met_from == 0), default=0.0)
    return routes_of(
        [route.name for route in table.routes],
        [_fixed(route) for route in table.routes],
        [route.bits for route in table.routes],
        [route.accuracy for route in table.routes],
        deadline=deadline,
        fallback=[stand_in if insured and route.bits else 0.0 for route in table.routes],
        rtt=rtt,
    )


def _fixed(route: Route) -> float:
    """Seconds without the transfer."""
    known_at = route.min_bandwidth or route.met_from
    return max(route.latency - (route.bits / known_at if known_at else 0.0), 0.0)


def _deadline(route: Route) -> float:
    return _fixed(route) + route.bits / (route.met_from or math.inf)
