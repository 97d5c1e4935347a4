"""Times of models on device classes where they were not measured, from those that were.

The operators of a model are listed once, by running it here in a separate process. Their times are fitted to
the operators in all DeviceProfiles of the class; the fit is kept until there are others. A request for an
estimate costs at most one such run and one fit over MOST_PROFILES profiles.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

from edge_planning.costs.operator_times import (
    OperatorTimes,
    fit_operator_times,
    observations,
    run_estimate,
)
from edge_planning.costs.operators import Operator
from edge_planning.errors import PlanningError
from edge_planning.graphs.onnx_reading import read_graph
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph as LayerGraph
from edge_runtime.errors import BadRequest, NotFound
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.sessions import engine_version, provider
from edge_runtime.slicing import Graph
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import document
from edge_runtime.store.operator_process import MODULE, Order
from edge_runtime.trials.child_process import Child, Ended
from edge_runtime.trials.verdicts import Bounds, Engine, judged

Listed = Sequence[Sequence[Sequence[Mapping[str, Any]]]]
"""Documents of operators, by exit and by shape."""
Fitted = tuple[OperatorTimes, float, int]
"""Times of operators, seconds of a call, and the number of models that were fitted."""

MOST_PROFILES: Final = 64
"""Profiles of a class from which its times are fitted, the latest."""
LEAST_MODELS: Final = 16
"""Models of a class from which its times are fitted: from fewer, whole kinds of operators are unknown."""
MOST_FITS: Final = 4
"""Fits that are kept in memory, the latest: each takes up to 2 MB for each kind of operator."""
SECONDS: Final = 60.0
"""Time limit for listing the operators of a model."""
BYTES_PER_FLOP: Final = 1 / 16
"""Bytes that a processor moves while it computes an operation: by that the time of an exit is divided among
its segments (an assumption)."""
_P95: Final = 1.645
"""Standard deviations from the mean to the 95th percentile of a normal distribution."""


class Estimates:
    """Estimated DeviceProfiles over a folder of blobs."""

    def __init__(
        self,
        blobs: Blobs,
        graph: Callable[[str], Graph],
        memory: Memory | None = None,
        least: int = LEAST_MODELS,
    ) -> None:
        """graph: returns a model by its digest. least: models of a class, for there to be estimates."""
        self._blobs, self._graph, self._least = blobs, graph, least
        self._memory = memory or Memory(cgroup_limit())
        self._lock = threading.Lock()  # one listing or fit at a time
        self._closed = False
        self._fits: dict[tuple[str, str], tuple[tuple[str, ...], Fitted]] = {}

    def close(self) -> None:
        """Ends the current listing."""
        self._closed = True

    def estimate(
        self, metadata: Mapping[str, Any], selection: str, device_class: str, profiles: Path
    ) -> dict[str, Any]:
        """Returns the estimated DeviceProfile of a model on a class.

        metadata: of the model. profiles: folder of all DeviceProfiles, by model, selection and class. Raises
        NotFound if too few profiles of the class have operators, and BadRequest if the model's cannot be
        listed.
        """
        with self._lock:
            fitted = self._fitted(profiles, selection, device_class)
            if fitted is None:
                raise NotFound(
                    f"no estimate for class {device_class} of {selection}: the operators of fewer than "
                    f"{self._least} models were measured there: wait for the measurement"
                )
            times, call, models = fitted
            listed = self._listed(metadata)
        shapes = [each["inputs"] for each in metadata.get("shapes", [])]
        graph = self._layers(metadata["digest"])
        at, errors = [], list[float]()
        for number, shape in enumerate(shapes or [{}]):
            exits, segments = [], dict[tuple[str, str], list[float]]()
            for exit_, each in zip(metadata["exits"], listed, strict=True):
                operators = [Operator.of(one) for one in each[number] for _ in range(one["count"])]
                seconds, error = run_estimate(times, operators, call)
                errors.append(error)
                exits.append({"exit": exit_["name"], "output": _end(exit_), **_timing(seconds, error)})
                for pair, share in shares(graph, exit_).items():
                    segments.setdefault(pair, []).append(share * seconds)
            error = max(errors)
            named = [
                {"from": start, "to": end, **_timing(median(segments[start, end]), error)}
                for start, end in ((each["from"], each["to"]) for each in metadata["segments"])
                if (start, end) in segments
            ]
            at.append({"inputs": shape, "segments": named, "exits": exits})
        return {
            "model": metadata["digest"],
            "selection": selection,
            "deviceClass": device_class,
            "node": "estimated",
            "segments": at[-1]["segments"],
            "exits": at[-1]["exits"],
            "shapes": at if shapes else [],
            "estimated": {"models": models, "error": round(max(errors), 4)},
        }

    def _fitted(
        self, profiles: Path, selection: str, device_class: str
    ) -> tuple[OperatorTimes, float, int] | None:
        """The fitted times of a class, the seconds of a call, and the number of models that were fitted.

        None from too few models.
        """
        paths = sorted(
            profiles.glob(f"*/{selection}/{device_class}.json"), key=lambda path: -path.stat().st_mtime_ns
        )[:MOST_PROFILES]
        state = tuple(f"{path}@{path.stat().st_mtime_ns}" for path in paths)
        known = self._fits.get((selection, device_class))
        if known is not None and known[0] == state:
            return known[1]
        measured = [each for path in paths if (each := (document(path) or {}).get("operators"))]
        seen = [one for each in measured for one in observations(each)]
        if not seen or len(measured) < self._least:
            return None
        call = median(each["callSeconds"] for each in measured)
        fitted = fit_operator_times(seen), call, len(measured)
        self._fits.pop((selection, device_class), None)
        self._fits[selection, device_class] = state, fitted
        while len(self._fits) > MOST_FITS:
            del self._fits[next(iter(self._fits))]
        return fitted

    def _listed(self, metadata: Mapping[str, Any]) -> Listed:
        """The operators by exit and shape, from the disk if they were listed before."""
        exits = tuple(tuple(exit_["outputs"]) for exit_ in metadata["exits"])
        shapes = tuple(each["inputs"] for each in metadata.get("shapes", []))
        folder = self._blobs.root / "operators"
        path = folder / f"{metadata['digest'].removeprefix('sha256:')}.json"
        asked = json.loads(json.dumps({"exits": exits, "shapes": shapes, "engine": engine_version()}))
        known = document(path)
        if known is None or known.get("asked") != asked:
            known = {"asked": asked, "found": self._list(metadata, exits, shapes)}
            self._blobs.put(json.dumps(known).encode(), path)
        found: Listed = known["found"]
        return found

    def _list(
        self,
        metadata: Mapping[str, Any],
        exits: tuple[tuple[str, ...], ...],
        shapes: tuple[Mapping[str, tuple[int, ...]], ...],
    ) -> Listed:
        digest = metadata["digest"]
        blobs = str(self._blobs.blob_path(digest).parent)
        order = Order(blobs, digest, exits, shapes, metadata.get("indexRanges") or {})
        bounds = Bounds(SECONDS, self._memory.room())
        child = Child(MODULE, lambda: self._closed)
        what = f"the operators of model {digest} cannot be listed"
        try:
            answer = child.ask(order.document(), bounds)
        except Ended as ended:
            verdict = judged(ended.end, Engine(engine_version(), provider().name, threads=1), bounds)
            raise verdict.error(what) or BadRequest(what) from None
        finally:
            child.end()
        if "found" in answer:
            found: Listed = answer["found"]
            return found
        raise BadRequest(f"{what}: {answer['message']}")

    def _layers(self, digest: str) -> LayerGraph | None:
        try:
            return read_graph(self._graph(digest).model, name="model")
        except PlanningError:
            return None


def shares(graph: LayerGraph | None, exit_: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Returns the share of an exit's time in each of its segments, by the work of their layers.

    Equal shares if the layers cannot be read.
    """
    cuts = exit_["cuts"]
    ends = [(cut["tensor"], tuple(cut["tensors"])) for cut in cuts] + [(_end(exit_), tuple(exit_["outputs"]))]
    pairs = list(pairwise(ends))
    work = [0.0] * len(pairs)
    if graph is not None:
        try:
            work = [
                sum(
                    layer.flops * BYTES_PER_FLOP + layer.parameters + layer.activations
                    for layer in layers_between(graph, start, end)
                )
                for (_, start), (_, end) in pairs
            ]
        except PlanningError:
            work = [0.0] * len(pairs)
    total = sum(work)
    return {
        (start, end): each / total if total > 0 else 1 / len(pairs)
        for ((start, _), (end, _)), each in zip(pairs, work, strict=True)
    }


def _timing(seconds: float, error: float) -> dict[str, Any]:
    return {"meanSeconds": seconds, "p95Seconds": seconds * (1 + _P95 * error), "runs": 0}


def _end(exit_: Mapping[str, Any]) -> str:
    return "+".join(exit_["outputs"])
