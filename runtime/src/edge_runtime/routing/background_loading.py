"""Loads a table's local tails and early exits in the background, while the table already serves."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge_planning.routing.latency_stats import LatencyStats
from edge_runtime.assignment import Slice
from edge_runtime.errors import EdgeError
from edge_runtime.inference.runners import INLINE
from edge_runtime.inference.sessions import Session
from edge_runtime.routing.early_exits import EarlyExitLoader
from edge_runtime.routing.fallbacks.local_tails import LocalTails
from edge_runtime.routing.loaded_tables import LoadedRoute, LoadedTable
from edge_runtime.routing.response_outputs import response_outputs

_log = logging.getLogger(__name__)

Load = Callable[[Slice], Awaitable[Session]]


class BackgroundLoader:
    """Completes tables from the model store, or from the disk cache of its responses."""

    def __init__(self, local_tails: LocalTails, early_exits: EarlyExitLoader) -> None:
        self._local_tails, self._early_exits = local_tails, early_exits

    async def complete(self, table: LoadedTable, load: Load) -> None:
        """Fills `fallbacks` and `branched_routes` one by one; those that cannot be loaded are omitted."""
        if table.local is None:
            return
        for loaded in table.routes:
            try:
                if loaded.hop is None:
                    await self._load_early_exits(table, loaded, load)
                elif loaded.session is not None:
                    await self._load_fallback(table, loaded, table.local, load)
            except EdgeError as error:
                _log.info("route %s has no local tail: %s", loaded.route.name, error)

    async def _load_fallback(
        self, table: LoadedTable, loaded: LoadedRoute, local: LoadedRoute, load: Load
    ) -> None:
        """Loads the tail behind the route's head, unless the local route is faster anyway."""
        tail = await self._local_tails.of(table.placement, loaded.route, local.route)
        if tail is None or tail.route.local is None:
            return
        outputs = response_outputs(tail.route, table.placement.spec.model.outputs, tail.kept)
        session = await load(tail.route.local.slice)
        if session.seconds <= max(local.stats.seconds, INLINE):
            kept = tuple(tensor.name for tensor in tail.kept)
            table.fallbacks[loaded.route.name] = LoadedRoute(
                tail.route, session, None, LatencyStats(session.seconds), outputs, kept
            )

    async def _load_early_exits(self, table: LoadedTable, loaded: LoadedRoute, load: Load) -> None:
        if table.placement.spec.early_exit.leave_at is None:
            return
        branched = await self._early_exits.of(table.placement, loaded, load)
        if branched is not None:
            table.branched_routes[loaded.route.name] = branched
