"""Routes as numbers: the input of a choice under an uncertain bandwidth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning.errors import require
from edge_planning.plans import Route, RouteTable
from edge_planning_lab.replanning.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Routes or any other candidates; arrays are [routes].

    Attributes:
        seconds: Latency without the transfer, including margin and round trip.
        bits: Sent over the link; 0 if the route does not need it.
        accuracy: Of its response.
        fallback: Accuracy of the response that is sent at the deadline if this route's is late; 0 if there is
            none and the request misses its deadline.
        deadline: Seconds.
        rtt: The round trip included in `seconds`; None if unknown.
    """

    names: tuple[str, ...]
    seconds: Floats
    bits: Floats
    accuracy: Floats
    fallback: Floats
    deadline: float
    rtt: float | None = None

    def __post_init__(self) -> None:
        require(len(self.names) > 0, "routes: the list is empty")
        require(self.deadline > 0, f"deadline {self.deadline} s must be > 0")
        require(self.rtt is None or 0 <= self.rtt < math.inf, f"rtt {self.rtt} s must be finite and >= 0")
        for name in ("seconds", "bits", "accuracy", "fallback"):
            column = getattr(self, name)
            require(
                column.shape == (len(self.names),),
                f"{name}: shape {column.shape} must be ({len(self.names)},)",
            )
            most = 1.0 if name in ("accuracy", "fallback") else math.inf
            good = bool(np.all((column >= 0) & (column <= most)))
            require(good, f"{name} {column.tolist()} has a value out of range")

    def __len__(self) -> int:
        return len(self.names)

    def thresholds(self, delay: float = 0.0) -> Floats:
        """Returns the minimum bandwidth in bit/s at which each route meets the deadline.

        It is 0 if the route always does, inf if it never does. `delay` is the difference of the round trip to
        the planned one, in seconds.
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
    """Returns routes from plain sequences."""
    columns = (seconds, bits, accuracy, [0.0] * len(names) if fallback is None else fallback)
    first, second, third, fourth = (np.asarray(column, dtype=np.float64) for column in columns)
    return Routes(tuple(names), first, second, third, fourth, deadline, rtt)


def routes_of_table(table: RouteTable, *, has_fallback: bool = False, rtt: float | None = None) -> Routes:
    """Returns the routes of a table, in its order.

    The latency at one bandwidth and the threshold at another determine the deadline and the seconds without
    the transfer.

    has_fallback: whether the local route's response replaces a late remote one if it is itself in time
    (the runtime computes it in parallel).
    """
    deadline = next((_deadline(route) for route in table.routes if route.met_from and route.bits), None)
    local = [route for route in table.routes if not route.bits]
    if deadline is None:  # no remote route ever meets it: only whether a route is late matters
        kept = [route.latency for route in local if route.met_from == 0]
        deadline = max(kept) if kept else min(route.latency for route in table.routes) / 2
    stand_in = max((route.accuracy for route in local if route.met_from == 0), default=0.0)
    return routes_of(
        [route.name for route in table.routes],
        [_fixed(route) for route in table.routes],
        [route.bits for route in table.routes],
        [route.accuracy for route in table.routes],
        deadline=deadline,
        fallback=[stand_in if has_fallback and route.bits else 0.0 for route in table.routes],
        rtt=rtt,
    )


def _fixed(route: Route) -> float:
    """Returns the seconds without the transfer."""
    known_at = route.min_bandwidth or route.met_from
    return max(route.latency - (route.bits / known_at if known_at else 0.0), 0.0)


def _deadline(route: Route) -> float:
    return _fixed(route) + route.bits / (route.met_from or math.inf)
