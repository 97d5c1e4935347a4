"""Slices from a cut to an exit: what answers in place of a hop from the activation that is already there.

The plan does not name them: they are had from the model store once a table serves, and remembered on the disk
for a start without it.
"""

from __future__ import annotations

import logging
from typing import Any

from pydantic import ValidationError

from edge_runtime.assignment import Placement, Route, Slice, Stage
from edge_runtime.codecs.contracts import FORM
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.remembered import Remembered

_log = logging.getLogger(__name__)


class Continuations:
    """Routes that continue another one's head at this node, by model, cut and least accuracy."""

    def __init__(self, remembered: Remembered, store: ModelStore) -> None:
        self._remembered, self._store = remembered, store

    async def of(self, placement: Placement, route: Route, local: Route) -> Route | None:
        """The cheapest route from this one's activation to an exit no worse than the local one's.

        None when there is none, or it is not known and the store is out of reach.
        """
        assert route.remote is not None
        model, cut = placement.spec.model.digest, list(route.sent)
        if {t.name for t in placement.spec.model.inputs} >= set(cut):
            return None  # nothing was computed yet: the local route has the input as it came

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
            encoded = [route.codec, FORM, route.exit, route.accuracy] if route.codec != "fp32" else []
            found = await self._remembered.get(key + encoded, ask)
        except Unreachable:
            return None
        return _route(found, local) if found else None

    async def _ask(self, model: str, cut: list[str], route: Route, local: Route) -> dict[str, Any] | None:
        """The first exit behind the cut, which is the one that is nearest.

        The head gives its activation as it crosses the hop, so it is decoded here, too; what the plan says
        that its codec costs the route's exit is taken to be lost at every other.
        """
        metadata = await self._store.metadata(model)
        whole = next((e["accuracy"] for e in metadata["exits"] if e["name"] == route.exit), route.accuracy)
        lost = max(whole - route.accuracy, 0.0) if route.codec != "fp32" else 0.0
        exits = [e for e in metadata["exits"] if e["accuracy"] - lost >= local.accuracy]
        for exit_ in sorted(exits, key=lambda e: float(e["accuracy"])):
            try:
                slice_ = await self._store.slice(model, cut, [exit_["output"]], route.codec)
            except Unreachable:
                raise
            except StorageError:  # it branches off before the cut
                continue
            return {"exit": exit_["name"], "accuracy": exit_["accuracy"] - lost, "slice": slice_}
        return None


def _route(entry: dict[str, Any], local: Route) -> Route | None:
    try:
        slice_ = Slice.model_validate(entry["slice"])
        exit_, accuracy = str(entry["exit"]), float(entry["accuracy"])
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    stage = Stage(place=local.stages[0].place, runtime="Edge", slice=slice_)
    # No duration of its own is known before it was run; what the plan says of the local route bounds it.
    return Route(
        name=f"{exit_}@local",
        exit=exit_,
        cut=local.cut,
        accuracy=accuracy,
        min_bandwidth=0.0,
        predicted_latency=local.predicted_latency,
        stages=(stage,),
    )
