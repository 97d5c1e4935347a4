"""What a table gets while it serves already: answers in place of hops, exits on the way of local routes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge_runtime.assignment import Slice
from edge_runtime.errors import EdgeError
from edge_runtime.inference.latency_stats import LatencyStats
from edge_runtime.inference.runners import INLINE
from edge_runtime.inference.sessions import Session
from edge_runtime.routing.continuations import Continuations
from edge_runtime.routing.ladders import Ladders
from edge_runtime.routing.tables import LoadedRoute, Table

_log = logging.getLogger(__name__)

Load = Callable[[Slice], Awaitable[Session]]


class Completions:
    """Completes tables from the model store, or from what is remembered of it."""

    def __init__(self, continuations: Continuations, ladders: Ladders) -> None:
        self._continuations, self._ladders = continuations, ladders

    async def complete(self, table: Table, load: Load) -> None:
        """Fills `covers` and `ladders` one by one; what cannot be had is done without."""
        if table.local is None:
            return
        for loaded in table.routes:
            try:
                if loaded.hop is None:
                    await self._lead(table, loaded, load)
                elif loaded.session is not None:
                    await self._cover(table, loaded, table.local, load)
            except EdgeError as error:
                _log.info("route %s does without: %s", loaded.route.name, error)

    async def _cover(self, table: Table, loaded: LoadedRoute, local: LoadedRoute, load: Load) -> None:
        """An answer from the activation of the route's head, unless the local route is quicker anyway."""
        route = await self._continuations.of(table.placement, loaded.route, local.route)
        if route is None or route.local is None:
            return
        session = await load(route.local.slice)
        if session.seconds <= max(local.stats.seconds, INLINE):
            table.covers[loaded.route.name] = LoadedRoute(route, session, None, LatencyStats(session.seconds))

    async def _lead(self, table: Table, loaded: LoadedRoute, load: Load) -> None:
        if table.placement.spec.early_exit.leave_at is None:
            return
        ladder = await self._ladders.of(table.placement, loaded, load)
        if ladder is not None:
            table.ladders[loaded.route.name] = ladder
