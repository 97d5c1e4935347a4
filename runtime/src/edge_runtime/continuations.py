"""Slices from a cut to an exit: what answers in place of a hop from the activation that is already there.

The plan does not name them: they are had from the model store once a table serves, and remembered on the disk
for a start without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from edge_runtime.assignment import Placement, Route, Slice, Stage
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.model_store import ModelStore, write_whole

_log = logging.getLogger(__name__)

_MOST: Final = 64


class Continuations:
    """Routes that continue another one's head at this node, by model, cut and least accuracy."""

    def __init__(self, file: Path, store: ModelStore) -> None:
        self._file, self._store = file, store
        self._known: dict[str, Any] | None = None

    async def of(self, placement: Placement, route: Route, local: Route) -> Route | None:
        """The cheapest route from this one's activation to an exit no worse than the local one's.

        None when there is none, or it is not known and the store is out of reach.
        """
        assert route.remote is not None
        cut = [t.name for t in route.remote.slice.inputs]
        key = orjson.dumps([placement.spec.model.digest, cut, local.exit, local.accuracy]).decode()
        known = await self._load()
        if key not in known:
            try:
                known[key] = await self._ask(placement.spec.model.digest, cut, local)
            except Unreachable:
                return None
            except (StorageError, KeyError, TypeError, ValueError) as error:
                _log.info("no exit follows %s: %r", ", ".join(cut), error)
                known[key] = None
            while len(known) > _MOST:
                del known[next(iter(known))]
            with contextlib.suppress(OSError):  # a full disk costs the memory of it, not the service
                kept = {k: v for k, v in known.items() if v}
                await asyncio.to_thread(write_whole, self._file, orjson.dumps(kept))
        return _route(known[key], local) if known[key] else None

    async def digests(self) -> set[str]:
        """Of all slices that are remembered."""
        return {entry["slice"]["digest"] for entry in (await self._load()).values() if entry}

    async def _load(self) -> dict[str, Any]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError):
                found = orjson.loads(await asyncio.to_thread(self._file.read_bytes))
                self._known = found if isinstance(found, dict) else {}
        return self._known

    async def _ask(self, model: str, cut: list[str], local: Route) -> dict[str, Any] | None:
        """The first exit behind the cut, which is the one that is nearest."""
        card = await self._store.card(model)
        exits = [e for e in card["exits"] if e["accuracy"] >= local.accuracy]
        for exit_ in sorted(exits, key=lambda e: float(e["accuracy"])):
            try:
                slice_ = await self._store.slice(model, cut, [exit_["output"]])
            except Unreachable:
                raise
            except StorageError:  # it branches off before the cut
                continue
            return {"exit": exit_["name"], "accuracy": exit_["accuracy"], "slice": slice_}
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
