"""Local tails: slices from a route's cut to an exit, which continue at this node when the hop fails.

A Placement does not name them. They are requested from the model store after a table starts serving, and are
cached on disk for a start without the store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
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
from edge_runtime.tensors import Tensor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalTail:
    """A route that continues at this node. kept: outputs of it that the head has computed."""

    route: Route
    kept: tuple[Tensor, ...] = ()


class LocalTails:
    """Routes that continue from another route's head at this node, by model, cut and minimum accuracy."""

    def __init__(self, disk_cache: DiskCache, store: ModelStore) -> None:
        self._disk_cache, self._store = disk_cache, store

    async def of(self, placement: Placement, route: Route, local: Route) -> LocalTail | None:
        """The cheapest route from this activation to an exit at least as accurate as the local route's.

        None if no such route exists, or if it is not cached and the store is unreachable.
        """
        assert route.remote is not None
        model, cut = placement.spec.model.digest, list(route.sent)
        kept = [] if route.local is None else list(route.local.kept or ())
        if {t.name for t in placement.spec.model.inputs} >= set(cut):
            return None  # nothing is computed yet: the local route starts from the input

        async def ask() -> dict[str, Any] | None:
            try:
                return await self._ask(model, cut, kept, route, local)
            except Unreachable:
                raise
            except (StorageError, KeyError, TypeError, ValueError) as error:
                _log.info("no exit follows %s: %r", ", ".join(cut), error)
                return None

        try:
            key = [model, cut, local.exit, local.accuracy, *([{"kept": kept}] if kept else [])]
            encoded = (
                [route.codec, form_of(route.codec), route.exit, route.accuracy] if route.codec != FP32 else []
            )
            found = await self._disk_cache.get(key + encoded, ask)
        except Unreachable:
            return None
        return _tail(found, route, local, placement.spec.model.outputs) if found else None

    async def _ask(
        self, model: str, cut: list[str], kept: list[str], route: Route, local: Route
    ) -> dict[str, Any] | None:
        """Requests the nearest exit behind the cut from the model store.

        kept: outputs that the head has computed, besides the tensors of the cut.

        The head returns its activation encoded for the hop, so the tail decodes it. The accuracy that the
        codec costs the route's exit is assumed to be lost at every other exit, too.
        """
        exits = model_exits(await self._store.metadata(model))
        whole = next((e.accuracy for e in exits if e.name == route.exit), route.accuracy)
        lost = max(whole - route.accuracy, 0.0) if route.codec != FP32 else 0.0
        for exit_ in sorted(exits, key=lambda e: e.accuracy):
            if exit_.accuracy - lost < local.accuracy:
                continue
            known = [*cut, *(name for name in kept if name not in cut)]
            start = [name for name in exit_.source(known) or known if name in cut]
            rest = [name for name in exit_.outputs if name not in kept]
            if not rest:
                continue
            try:
                slice_ = await self._store.slice(model, start, rest, route.codec)
            except Unreachable:
                raise
            except StorageError:  # it branches off before the cut
                continue
            named = exit_.route_outputs
            outputs = None if named is None else [each.model_dump() for each in named]
            accuracy = exit_.accuracy - lost
            found = {"exit": exit_.name, "accuracy": accuracy, "outputs": outputs, "slice": slice_}
            return found if len(rest) == len(exit_.outputs) else found | {"ends": list(exit_.outputs)}
        return None


def _tail(entry: dict[str, Any], before: Route, local: Route, model: Sequence[Tensor]) -> LocalTail | None:
    """before: the route whose head it continues. model: the outputs of the full model."""
    try:
        slice_ = Slice.model_validate(entry["slice"])
        exit_, accuracy = str(entry["exit"]), float(entry["accuracy"])
        named, ends = entry.get("outputs"), [str(name) for name in entry.get("ends", ())]
        if ends and named is None:
            pairs = zip(model, ends, strict=True)
            named = [{"name": tensor.name, "tensor": name} for tensor, name in pairs]
        outputs = None if named is None else tuple(RouteOutput.model_validate(each) for each in named)
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    kept = () if before.local is None else before.local.kept_tensors
    stage = Stage(place=local.stages[0].place, runtime="Edge", slice=slice_)
    # It has no measured latency before its first run; the local route's predicted latency is an upper bound.
    route = Route(
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
    return LocalTail(route, tuple(tensor for tensor in kept if tensor.name in ends))
