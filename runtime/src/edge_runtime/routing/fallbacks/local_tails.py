"""Local tails: slices from a route's cut to an exit, which continue at this node when the hop fails.

A Placement does not name them. They are requested from the model store after a table starts serving, and are
cached on disk for a start without the store.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError

from edge_api import Quantity
from edge_api.placements import RouteOutput
from edge_runtime.assignment import Placement, Route, Slice, Stage
from edge_runtime.codecs.contracts import FP32, form_of
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.model_exits import model_exits

_log = logging.getLogger(__name__)


class LocalTails:
    """Routes that continue from another route's head at this node, by model, cut and minimum accuracy."""

    def __init__(self, disk_cache: DiskCache, store: ModelStore) -> None:
        self._disk_cache, self._store = disk_cache, store

    async def of(self, placement: Placement, route: Route, local: Route) -> Route | None:
        """The cheapest route from this activation to an exit at least as accurate as the local route's.

        None if no such route exists, or if it is not cached and the store is unreachable.
        """
        assert route.remote is not None
        model, cut = placement.spec.model.digest, list(route.sent)
        if {t.name for t in placement.spec.model.inputs} >= set(cut):
            return None  # nothing is computed yet: the local route starts from the input

        async def ask() -> dict[str, Any] | None:
            try:
                return await self._ask(model, cut, route, local)
            except Unreachable:
                raise
            except (StorageError, KeyError, TypeError, ValueError) as error:
                _log.info("no exit follows %s: %r", ", ".join(cut), error)
                return None

        try:
            key = [model, cut, local.exit, local.accuracy]
            encoded = (
                [route.codec, form_of(route.codec), route.exit, route.accuracy] if route.codec != FP32 else []
            )
            found = await self._disk_cache.get(key + encoded, ask)
        except Unreachable:
            return None
        return _route(found, local) if found else None

    async def _ask(self, model: str, cut: list[str], route: Route, local: Route) -> dict[str, Any] | None:
        """Requests the nearest exit behind the cut from the model store.

        The head returns its activation encoded for the hop, so the tail decodes it. The accuracy that the
        codec costs the route's exit is assumed to be lost at every other exit, too.
        """
        exits = model_exits(await self._store.metadata(model))
        whole = next((e.accuracy for e in exits if e.name == route.exit), route.accuracy)
        lost = max(whole - route.accuracy, 0.0) if route.codec != FP32 else 0.0
        for exit_ in sorted(exits, key=lambda e: e.accuracy):
            if exit_.accuracy - lost < local.accuracy:
                continue
            start = list(exit_.source(cut) or cut)
            try:
                slice_ = await self._store.slice(model, start, list(exit_.outputs), route.codec)
            except Unreachable:
                raise
            except StorageError:  # it branches off before the cut
                continue
            named = exit_.route_outputs
            outputs = None if named is None else [each.model_dump() for each in named]
            accuracy = exit_.accuracy - lost
            return {"exit": exit_.name, "accuracy": accuracy, "outputs": outputs, "slice": slice_}
        return None


def _route(entry: dict[str, Any], local: Route) -> Route | None:
    try:
        slice_ = Slice.model_validate(entry["slice"])
        exit_, accuracy = str(entry["exit"]), float(entry["accuracy"])
        named = entry.get("outputs")
        outputs = None if named is None else tuple(RouteOutput.model_validate(each) for each in named)
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    stage = Stage(place=local.stages[0].place, runtime="Edge", slice=slice_)
    # It has no measured latency before its first run; the local route's predicted latency is an upper bound.
    return Route(
        name=f"{exit_}@local",
        exit=exit_,
        cut=local.cut,
        accuracy=accuracy,
        worth=local.worth,
        min_bandwidth=Quantity(0),
        predicted_latency=local.predicted_latency,
        stages=(stage,),
        outputs=outputs,
    )
