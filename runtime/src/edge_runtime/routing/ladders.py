"""Exits on the way to a local route's: an input of which one is sure leaves there, the others climb on.

BranchyNet (Teerapittayanon, McDanel, Kung, ICPR 2016): the exits share one trunk, so looking at one costs its
own branch only.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edge_runtime.assignment import Placement, Route, Slice
from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.inference.latency_stats import LatencyStats
from edge_runtime.inference.sessions import Session
from edge_runtime.json_values import Json
from edge_runtime.model_store import ModelStore
from edge_runtime.responses import confidence
from edge_runtime.routing.disk_cache import DiskCache
from edge_runtime.routing.tables import Ladder, LoadedRoute, Rung
from edge_runtime.tensors import Array

_log = logging.getLogger(__name__)

Run = Callable[[LoadedRoute, Mapping[str, Array]], Awaitable[list[Array]]]
Load = Callable[[Slice], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class Step:
    """One exit on the way, which branches off at `branch`; the one before it, or the input, is at `start`."""

    exit: str
    accuracy: float
    output: str
    start: str
    branch: str


def steps(metadata: Json, exit_: str, min_accuracy: float) -> list[Step]:
    """The exits that an input may leave by before `exit_`; `metadata` is the model store's.

    Each branches off at the deepest cut that both have, below the one before it.
    """
    exits = {entry["name"]: entry for entry in metadata["exits"]}
    last = exits[exit_]
    trunk = [cut["tensor"] for cut in last["cuts"] if len(cut.get("tensors", [""])) == 1]
    found: dict[int, Step] = {}
    for entry in exits.values():
        if entry["name"] == exit_ or not min_accuracy <= entry["accuracy"] <= last["accuracy"]:
            continue
        shared = {cut["tensor"] for cut in entry["cuts"]}
        depth = max((i for i, tensor in enumerate(trunk) if tensor in shared), default=0)
        best = found.get(depth)
        if depth and (best is None or entry["accuracy"] > best.accuracy):
            found[depth] = Step(entry["name"], entry["accuracy"], entry["output"], "", trunk[depth])
    ordered = [found[depth] for depth in sorted(found)]
    starts = [trunk[0], *(step.branch for step in ordered)]
    return [
        Step(step.exit, step.accuracy, step.output, start, step.branch)
        for step, start in zip(ordered, starts, strict=False)
    ]


async def climb(
    ladder: Ladder, inputs: Mapping[str, Array], leave_at: float, run: Run, left: Callable[[], float]
) -> tuple[Array, LoadedRoute]:
    """The output and the route whose exit gave it. `left` tells the seconds until the deadline.

    A branch is not looked at when the rest would be late for it.
    """
    known = dict(inputs)
    for i, rung in enumerate(ladder.rungs):
        known |= _named(rung.trunk, await run(rung.trunk, known))
        needed = sum(r.trunk.stats.most for r in ladder.rungs[i + 1 :]) + ladder.rest.stats.most
        if rung.branch.stats.most + needed > left():
            continue
        (output,) = await run(rung.branch, known)
        if (confidence(output) or 0.0) >= leave_at:
            return output, rung.branch
    (output,) = await run(ladder.rest, known)
    return output, ladder.rest


class Ladders:
    """Ladders by model, exit and least accuracy: cut by the model store, remembered on the disk."""

    def __init__(self, disk_cache: DiskCache, store: ModelStore) -> None:
        self._disk_cache, self._store = disk_cache, store

    async def of(self, placement: Placement, local: LoadedRoute, load: Load) -> Ladder | None:
        """The ladder of a local route; None without an exit on the way, or while the store is out of reach.

        Raises EdgeError when a slice of it cannot be loaded.
        """
        model, exit_ = placement.spec.model.digest, local.route.exit
        floor = placement.spec.slo.min_accuracy or 0.0

        async def ask() -> dict[str, Any] | None:
            try:
                return await self._ask(model, exit_, floor)
            except Unreachable:
                raise
            except (StorageError, KeyError, TypeError, ValueError) as error:
                _log.info("no exits lead to %s: %r", exit_, error)
                return None

        try:
            found = await self._disk_cache.get(["ladder", model, exit_, floor], ask)
        except Unreachable:
            return None
        return await _loaded(found, local, load) if found else None

    async def _ask(self, model: str, exit_: str, floor: float) -> dict[str, Any] | None:
        metadata = await self._store.metadata(model)
        found = steps(metadata, exit_, floor)
        if not found:
            return None
        output = next(e["output"] for e in metadata["exits"] if e["name"] == exit_)
        rungs = [
            {
                "exit": step.exit,
                "accuracy": step.accuracy,
                "trunk": await self._store.slice(model, [step.start], [step.branch]),
                "branch": await self._store.slice(model, [step.branch], [step.output]),
            }
            for step in found
        ]
        return {"rungs": rungs, "rest": await self._store.slice(model, [found[-1].branch], [output])}


async def _loaded(found: Json, local: LoadedRoute, load: Load) -> Ladder | None:
    async def part(slice_: Json, **change: Any) -> LoadedRoute:  # noqa: ANN401
        stage = local.route.stages[0].model_copy(update={"slice": Slice.model_validate(slice_)})
        session = await load(stage.slice)
        route = local.route.model_copy(update={"stages": (stage,), **change})
        return LoadedRoute(route, session, None, LatencyStats(session.seconds))

    try:
        rungs = [
            Rung(
                await part(rung["trunk"]),
                await part(rung["branch"], **_as_exit(local.route, rung["exit"], rung["accuracy"])),
            )
            for rung in found["rungs"]
        ]
        if not all(rung.branch.route.output.batched for rung in rungs):
            return None  # nobody can tell how sure boxes are
        return Ladder(tuple(rungs), await part(found["rest"]))
    except (ValidationError, KeyError, TypeError) as error:
        _log.warning("what is remembered of the exits on the way is damaged: %s", error)
        return None


def _as_exit(route: Route, exit_: str, accuracy: float) -> dict[str, Any]:
    return {"name": f"{exit_}@{route.cut}", "exit": exit_, "accuracy": accuracy}


def _named(loaded: LoadedRoute, made: Sequence[Array]) -> dict[str, Array]:
    assert loaded.session is not None
    return {t.name: a for t, a in zip(loaded.session.outputs, made, strict=True)}
