"""Requests to a service whose sessions were let go: they wait for one to be loaded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_planning.routing.idle import retry_in
from edge_runtime.errors import Overloaded
from edge_runtime.requests import InferenceRequest
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.loaded_tables import LoadedTable


class Activity:
    """When a service last had a request. count: those without a response yet. last: on the clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self.count, self.last = clock, 0, clock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Counts a request until its response."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            self.last = self._clock()

    def touch(self) -> None:
        """Notes a request that needs no waiting, or a table that was loaded now."""
        self.last = self._clock()


async def table_for(
    generations: Generations,
    request: InferenceRequest,
    elapsed: float,
    refused: Callable[[str, str], None],
) -> LoadedTable:
    """Returns the table for a request to a service that has none loaded.

    elapsed: seconds since the request arrived. refused: called with exit and route of one that is refused.
    Raises NotReady if there is nothing to load. Raises Overloaded with the time after which to retry if the
    client has set a timeout within which the session is not expected to be loaded; the load begins anyway.
    """
    idle = generations.idle
    if idle is None:
        return await generations.load_again(0.0)
    left = (idle.placement.spec.slo.latency if request.within is None else request.within) - elapsed
    route, cost = idle.first(left)
    after = retry_in(cost, None if request.within is None else left)
    if after is not None:
        generations.begin_loading(left)
        refused(route.exit, route.name)
        raise Overloaded(
            f"the service had no requests and loads its model again, which takes {1e3 * cost.loading:.0f} "
            f"ms, but the request has {1e3 * left:.0f} ms: retry in {after} s",
            after,
        )
    return await generations.load_again(left)
