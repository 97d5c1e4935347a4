"""Early exits of a local route: an input leaves at the first exit whose confidence reaches the threshold.

BranchyNet (Teerapittayanon, McDanel, Kung, ICPR 2016): the exits share one trunk, so evaluating one costs
only its own branch.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from edge_api.placements import RouteOutput
from edge_planning.routing.latency_stats import LatencyStats
from edge_runtime.assignment import Placement, Route, Slice
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.inference.sessions import Session
from edge_runtime.json_values import Json
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.loaded_tables import BranchedRoute, BranchPoint, LoadedRoute
from edge_runtime.routing.model_exits import ModelExit, model_exits
from edge_runtime.routing.response_outputs import NO_OUTPUTS, response_outputs
from edge_runtime.tensors import Array

_log = logging.getLogger(__name__)

Run = Callable[[LoadedRoute, Mapping[str, Array]], Awaitable[list[Array]]]
Load = Callable[[Slice], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class ExitPoint:
    """An early exit that branches off the trunk.

    start: tensors at which its part of the trunk starts: the branch point before it, or the inputs.
    branch: tensors at which that part ends. source: those of them that the exit is computed from.
    """

    exit: ModelExit
    start: tuple[str, ...]
    branch: tuple[str, ...]
    source: tuple[str, ...]


def exit_points(exits: Sequence[ModelExit], exit_: str, min_accuracy: float) -> list[ExitPoint]:
    """The early exits before `exit_`.

    Each branches off at the deepest cut of `exit_` from which it can be computed, behind the branch of the
    exit before. A cut of several computed tensors, besides outputs of `exit_`, is not a branch point.
    """
    last = {each.name: each for each in exits}[exit_]
    inputs = last.cuts[0] if last.cuts else ()
    passing = {*inputs, *last.outputs}
    trunk = [cut for cut in last.cuts if len(set(cut) - passing) < 2]
    found: dict[int, ExitPoint] = {}
    for each in exits:
        if each.name == exit_ or not min_accuracy <= each.accuracy <= last.accuracy:
            continue
        depth, source = _branch_point(trunk, each)
        best = found.get(depth)
        if depth and (best is None or each.accuracy > best.exit.accuracy):
            found[depth] = ExitPoint(each, (), trunk[depth], source)
    ordered = [found[depth] for depth in sorted(found)]
    starts = [inputs, *(point.branch for point in ordered)]
    return [replace(point, start=start) for point, start in zip(ordered, starts, strict=False)]


def _branch_point(trunk: Sequence[tuple[str, ...]], exit_: ModelExit) -> tuple[int, tuple[str, ...]]:
    """The index of the deepest cut from which an exit can be computed, and its tensors that this reads.

    0 if that is not deeper than the inputs, which every cut has.
    """
    inputs = exit_.cuts[0] if exit_.cuts else ()
    for depth in range(len(trunk) - 1, 0, -1):
        source = exit_.source([*trunk[depth], *inputs])
        if source is not None and not set(source) <= set(inputs):
            return depth, source
    return 0, ()


async def run_until_confident(
    branched: BranchedRoute,
    inputs: Mapping[str, Array],
    leave_at: float,
    run: Run,
    left: Callable[[], float],
    names: Sequence[str] = (),
) -> tuple[list[Array], LoadedRoute]:
    """The outputs, and the route whose exit computed them. `left` returns the seconds until the deadline.

    A branch is skipped if evaluating it would make the rest of the route late, or if it lacks one of the
    requested `names`.
    """
    known = dict(inputs)
    for i, point in enumerate(branched.points):
        known |= _named(point.trunk, await run(point.trunk, known))
        needed = sum(r.trunk.stats.most for r in branched.points[i + 1 :]) + branched.rest.stats.most
        outputs = point.branch.outputs
        if point.branch.stats.most + needed > left() or not outputs.has(names):
            continue
        results = await run(point.branch, known)
        if (outputs.confidence(results, inputs) or 0.0) >= leave_at:
            return results, point.branch
    return await run(branched.rest, known), branched.rest


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
        return await _loaded(found, placement, local, load) if found else None

    async def _ask(self, model: str, exit_: str, floor: float) -> dict[str, Any] | None:
        exits = model_exits(await self._store.metadata(model))
        found = exit_points(exits, exit_, floor)
        if not found:
            return None
        (last,) = (each for each in exits if each.name == exit_)
        points = [
            {
                "exit": point.exit.name,
                "accuracy": point.exit.accuracy,
                "outputs": _documents(point.exit),
                "trunk": await self._store.slice(model, list(point.start), list(point.branch)),
                "branch": await self._store.slice(model, list(point.source), list(point.exit.outputs)),
            }
            for point in found
        ]
        rest = await self._store.slice(model, list(found[-1].branch), list(last.outputs))
        return {"points": points, "rest": rest}


async def _loaded(found: Json, placement: Placement, local: LoadedRoute, load: Load) -> BranchedRoute | None:
    model = placement.spec.model.outputs

    async def part(slice_: Json, *, ends: bool = True, **change: Any) -> LoadedRoute:  # noqa: ANN401
        stage = local.route.stages[0].model_copy(update={"slice": Slice.model_validate(slice_)})
        session = await load(stage.slice)
        route = local.route.model_copy(update={"stages": (stage,), **change})
        outputs = response_outputs(route, model) if ends else NO_OUTPUTS
        return LoadedRoute(route, session, None, LatencyStats(session.seconds), outputs)

    try:
        points = [
            BranchPoint(
                await part(point["trunk"], ends=False),
                await part(point["branch"], **_as_exit(local.route, point)),
            )
            for point in found["points"]
        ]
        if not all(point.branch.outputs.decisive for point in points):
            return None  # such as bounding boxes, which have no confidence
        return BranchedRoute(tuple(points), await part(found["rest"]))
    except (ValidationError, KeyError, TypeError) as error:
        _log.warning("the cached early exits are damaged: %s", error)
        return None


def _as_exit(route: Route, point: Json) -> dict[str, Any]:
    """What the route of an early exit has instead of the local route's."""
    exit_, named = point["exit"], point.get("outputs")
    outputs = None if named is None else tuple(RouteOutput.model_validate(each) for each in named)
    return {
        "name": f"{exit_}@{route.cut}",
        "exit": exit_,
        "accuracy": point["accuracy"],
        "outputs": outputs,
    }


def _documents(exit_: ModelExit) -> list[dict[str, Any]] | None:
    named = exit_.route_outputs
    return None if named is None else [each.model_dump() for each in named]


def _named(loaded: LoadedRoute, made: Sequence[Array]) -> dict[str, Array]:
    assert loaded.session is not None
    return {t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}
