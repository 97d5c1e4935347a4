"""Early exits of a local route: an input leaves at the first exit whose confidence reaches the threshold.

BranchyNet (Teerapittayanon, McDanel, Kung, ICPR 2016): the exits share one trunk, so evaluating one costs
only its own branch.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edge_planning.routing.latency_stats import LatencyStats
from edge_runtime.assignment import Placement, Route, Slice
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.inference.sessions import Session
from edge_runtime.json_values import Json
from edge_runtime.model_store import ModelStore
from edge_runtime.responses import confidence
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.loaded_tables import BranchedRoute, BranchPoint, LoadedRoute
from edge_runtime.tensors import Array

_log = logging.getLogger(__name__)

Run = Callable[[LoadedRoute, Mapping[str, Array]], Awaitable[list[Array]]]
Load = Callable[[Slice], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class ExitPoint:
    """An early exit that branches off at tensor `branch`; `start` is the branch before it, or the input."""

    exit: str
    accuracy: float
    output: str
    start: str
    branch: str


def exit_points(metadata: Json, exit_: str, min_accuracy: float) -> list[ExitPoint]:
    """The early exits before `exit_`, by the model store's `metadata`.

    Each branches off at the deepest cut that it shares with `exit_`, behind the branch of the exit before.
    """
    exits = {entry["name"]: entry for entry in metadata["exits"]}
    last = exits[exit_]
    trunk = [cut["tensor"] for cut in last["cuts"] if len(cut.get("tensors", [""])) == 1]
    found: dict[int, ExitPoint] = {}
    for entry in exits.values():
        if entry["name"] == exit_ or not min_accuracy <= entry["accuracy"] <= last["accuracy"]:
            continue
        shared = {cut["tensor"] for cut in entry["cuts"]}
        depth = max((i for i, tensor in enumerate(trunk) if tensor in shared), default=0)
        best = found.get(depth)
        if depth and (best is None or entry["accuracy"] > best.accuracy):
            found[depth] = ExitPoint(entry["name"], entry["accuracy"], entry["output"], "", trunk[depth])
    ordered = [found[depth] for depth in sorted(found)]
    starts = [trunk[0], *(point.branch for point in ordered)]
    return [
        ExitPoint(point.exit, point.accuracy, point.output, start, point.branch)
        for point, start in zip(ordered, starts, strict=False)
    ]


async def run_until_confident(
    branched: BranchedRoute, inputs: Mapping[str, Array], leave_at: float, run: Run, left: Callable[[], float]
) -> tuple[Array, LoadedRoute]:
    """The output, and the route whose exit computed it. `left` returns the seconds until the deadline.

    A branch is skipped if evaluating it would make the rest of the route late.
    """
    known = dict(inputs)
    for i, point in enumerate(branched.points):
        known |= _named(point.trunk, await run(point.trunk, known))
        needed = sum(r.trunk.stats.most for r in branched.points[i + 1 :]) + branched.rest.stats.most
        if point.branch.stats.most + needed > left():
            continue
        (output,) = await run(point.branch, known)
        if (confidence(output) or 0.0) >= leave_at:
            return output, point.branch
    (output,) = await run(branched.rest, known)
    return output, branched.rest


class EarlyExitLoader:
    """Branched routes by model, exit and minimum accuracy: cut by the model store, cached on disk."""

    def __init__(self, disk_cache: DiskCache, store: ModelStore) -> None:
        self._disk_cache, self._store = disk_cache, store

    async def of(self, placement: Placement, local: LoadedRoute, load: Load) -> BranchedRoute | None:
        """The branched form of a local route; None without early exits, or while the store is unreachable.

        Raises EdgeError if one of its slices cannot be loaded.
        """
        model, exit_ = placement.spec.model.digest, local.route.exit
        floor = placement.spec.slo.min_accuracy or 0.0

        async def ask() -> dict[str, Any] | None:
            try:
                return await self._ask(model, exit_, floor)
            except Unreachable:
                raise
            except (StorageError, KeyError, TypeError, ValueError) as error:
                _log.info("%s has no early exits: %r", exit_, error)
                return None

        try:
            found = await self._disk_cache.get(["early-exits", model, exit_, floor], ask)
        except Unreachable:
            return None
        return await _loaded(found, local, load) if found else None

    async def _ask(self, model: str, exit_: str, floor: float) -> dict[str, Any] | None:
        metadata = await self._store.metadata(model)
        found = exit_points(metadata, exit_, floor)
        if not found:
            return None
        output = next(e["output"] for e in metadata["exits"] if e["name"] == exit_)
        points = [
            {
                "exit": point.exit,
                "accuracy": point.accuracy,
                "trunk": await self._store.slice(model, [point.start], [point.branch]),
                "branch": await self._store.slice(model, [point.branch], [point.output]),
            }
            for point in found
        ]
        return {"points": points, "rest": await self._store.slice(model, [found[-1].branch], [output])}


async def _loaded(found: Json, local: LoadedRoute, load: Load) -> BranchedRoute | None:
    async def part(slice_: Json, **change: Any) -> LoadedRoute:  # noqa: ANN401
        stage = local.route.stages[0].model_copy(update={"slice": Slice.model_validate(slice_)})
        session = await load(stage.slice)
        route = local.route.model_copy(update={"stages": (stage,), **change})
        return LoadedRoute(route, session, None, LatencyStats(session.seconds))

    try:
        points = [
            BranchPoint(
                await part(point["trunk"]),
                await part(point["branch"], **_as_exit(local.route, point["exit"], point["accuracy"])),
            )
            for point in found["points"]
        ]
        if not all(point.branch.route.output.batched for point in points):
            return None  # bounding boxes have no confidence
        return BranchedRoute(tuple(points), await part(found["rest"]))
    except (ValidationError, KeyError, TypeError) as error:
        _log.warning("the cached early exits are damaged: %s", error)
        return None


def _as_exit(route: Route, exit_: str, accuracy: float) -> dict[str, Any]:
    return {"name": f"{exit_}@{route.cut}", "exit": exit_, "accuracy": accuracy}


def _named(loaded: LoadedRoute, made: Sequence[Array]) -> dict[str, Array]:
    assert loaded.session is not None
    return {t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}
