"""When sessions without requests are let go, and which route the next request loads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

from edge_planning.routing.deadlines import usable

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Kept(Generic[Key]):
    """An idle service whose sessions are still loaded.

    Attributes:
        key: Of the service.
        since: The second of its last request.
        size: Bytes of its sessions.
    """

    key: Key
    since: float
    size: int


@dataclass(frozen=True, slots=True)
class FirstRoute:
    """A local route that a request could load: the seconds for loading its session and for a run."""

    loading: float
    running: float

    @property
    def seconds(self) -> float:
        """Seconds until it responds."""
        return self.loading + self.running


def idle_in(after: float, last: float, now: float) -> float:
    """Returns the seconds until a service without requests since `last` is idle; 0 if it is."""
    return max(last + after - now, 0.0)


def let_go(kept: Iterable[Kept[Key]], memory: int) -> list[Key]:
    """Returns the idle services whose sessions are let go, so that those of the others fit in `memory` bytes.

    The ones without requests for the longest time come first.
    """
    longest = sorted(kept, key=lambda each: each.since)
    held, found = sum(each.size for each in longest), []
    for each in longest:
        if held <= memory:
            break
        found.append(each.key)
        held -= each.size
    return found


def first_route(ladder: Sequence[FirstRoute], left: float) -> int:
    """Returns the index of the route to load for a request with `left` seconds.

    ladder: the local routes, the most accurate first. The first one that responds in time, else the quickest.
    """
    in_time = (index for index, route in enumerate(ladder) if route.seconds <= usable(left))
    quickest = min(range(len(ladder)), key=lambda index: ladder[index].seconds)
    return next(in_time, quickest)


def retry_in(route: FirstRoute, left: float | None) -> int | None:
    """Returns the whole seconds after which a request is to be sent again; None if it waits for the session.

    left: the seconds that the client has set; None if it has set none, so that a late response is of use.
    """
    if left is None or route.seconds <= usable(left):
        return None
    return max(1, ceil(route.seconds - left))
