"""The operators that onnxruntime runs after its graph optimization, with their shapes and times.

onnxruntime's profiler reports them for each run, those inside of control flow included. It omits constant
weights that were packed, so that one run without packing tells the shapes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from edge_planning.costs.operators import Operator
from edge_runtime.errors import CannotLoad, ModelFailed
from edge_runtime.inference.providers import in_order
from edge_runtime.inference.sessions import Session, provider
from edge_runtime.inference.shape_timing import ModelSource
from edge_runtime.tensors import Array

MOST_DISTINCT: Final = 1024
"""Distinct operators of a measured model that are reported, those that take the most time."""
MOST_RANK: Final = 8
LEAST: Final = 1e-7
"""Minimum seconds of an operator."""
PROFILED: Final = (1.5e-6, 2.6e-6)
"""Least and most seconds that the profiler adds to an operator."""
TYPICAL: Final = 2e-6
_LONG: Final = 1e-5
"""Mean seconds of operators from which on what the profiler adds is lost in noise; TYPICAL is taken."""
LEAST_RUNS: Final = 5
MOST_RUNS: Final = 200
"""Measured runs of the profiler: its events take memory until the session ends."""
_CALLS: Final = 200
_KERNEL: Final = "_kernel_time"
_BLOCKED: Final = "_nchwc"

Untyped = Any
Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ran:
    """An operator of one run. name: of its node."""

    name: str
    operator: Operator
    seconds: float


def operators_of(
    model: ModelSource,
    feeds: Mapping[str, Array],
    *,
    seconds: float = 0.0,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Ran]:
    """Returns the operators of a run on `feeds` in their order, each with its time.

    seconds: for how long the model is run to measure times; 0: one run, for the operators alone, whose
    seconds are then 0. The profiler's own time is included (`of_run` removes it). Raises CannotLoad, and
    ModelFailed if the model fails or its operators differ between runs.
    """
    shapes = _events(model, feeds, threads, _once, packed=False)[0]
    if seconds <= 0:
        return [Ran(_name(each), _operator(each, each), 0.0) for each in shapes]
    runs = _events(model, feeds, threads, _for(seconds, clock), packed=True)
    return joined(shapes, runs)


def joined(shapes: Events, runs: Sequence[Events]) -> list[Ran]:
    """Returns the operators of the runs with their own times.

    shapes: the events of a run that reports all inputs. The time of an operator is the mean of the faster
    half of the runs: other processes make single runs much slower. Raises ModelFailed if the runs differ in
    their operators, as those of a loop that ends by chance.
    """
    keys = [[_key(each) for each in run] for run in runs]
    if not keys or any(each != keys[0] for each in keys):
        raise ModelFailed("the operators of the model differ between runs on the same inputs")
    known = {_key(each): each for each in shapes}
    own = [own_microseconds(run) for run in runs]
    found = []
    for number, event in enumerate(runs[-1]):
        faster = sorted(each[number] for each in own)[: (len(own) + 1) // 2]
        # Whole microseconds are counted, rounded down.
        seconds = (sum(faster) / len(faster) + 0.5) * 1e-6
        found.append(Ran(_name(event), _operator(known.get(_key(event), event), event), seconds))
    return found


def of_run(ran: Sequence[Ran], seconds: float) -> list[Ran]:
    """Returns the operators with times that sum to those of a run without the profiler.

    What the profiler adds is about the same for each operator, at most PROFILED; what is left is scaled.
    """
    total = sum(each.seconds for each in ran)
    if not ran or total <= 0:
        return list(ran)
    added = min(max((total - seconds) / len(ran), PROFILED[0]), PROFILED[1])
    if seconds / len(ran) > _LONG:
        added = TYPICAL
    own = [max(each.seconds - added, LEAST) for each in ran]
    scale = seconds / sum(own)
    return [replace(each, seconds=time * scale) for each, time in zip(ran, own, strict=True)]


def own_microseconds(events: Events) -> list[float]:
    """Returns the time of each event without the span of the events within it: an If contains its branch."""
    inside: dict[int, tuple[float, float]] = {}
    around: list[int] = []
    for number in sorted(range(len(events)), key=lambda n: (events[n]["ts"], -events[n]["dur"])):
        start, end = float(events[number]["ts"]), _end(events[number])
        while around and _end(events[around[-1]]) <= start:
            around.pop()
        if around and _end(events[around[-1]]) >= end:
            first, last = inside.get(around[-1], (start, end))
            inside[around[-1]] = min(first, start), max(last, end)
        around.append(number)
    return [
        float(event["dur"]) - (inside[number][1] - inside[number][0] if number in inside else 0.0)
        for number, event in enumerate(events)
    ]


def measured_operators(
    model: ModelSource, feeds: Mapping[str, Array], whole: float, *, seconds: float, threads: int = 1
) -> dict[str, Any]:
    """Returns the operators of a model and their times as in a DeviceProfile.

    whole: mean seconds of a run of the model without the profiler. seconds: how long to measure. Raises
    CannotLoad and ModelFailed.
    """
    ran = operators_of(model, feeds, seconds=seconds, threads=threads)
    call = min(seconds_of_call(threads), whole)
    return {"callSeconds": call, "observed": documents(of_run(ran, whole - call), MOST_DISTINCT)}


def seconds_of_call(threads: int = 1, clock: Callable[[], float] = time.perf_counter) -> float:
    """Returns the seconds of a run of a model that computes nothing: the median of some runs."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("given", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["given"], ["same"])], "call", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model.SerializeToString(), threads=threads)
    feeds, times = {"given": np.zeros(1, np.float32)}, []
    for _ in range(_CALLS):
        start = clock()
        session.run(feeds)
        times.append(clock() - start)
    return median(times)


def documents(ran: Sequence[Ran], most: int | None = None) -> list[dict[str, Any]]:
    """Returns equal operators as one, with their number and mean time; at most the `most` of most time."""
    found: dict[Operator, list[float]] = {}
    for each in ran:
        found.setdefault(each.operator, []).append(each.seconds)
    longest = sorted(found, key=lambda one: -sum(found[one]))[:most]
    kept = set(longest)
    return [
        {
            **one.document(),
            "count": len(found[one]),
            "seconds": float(f"{sum(found[one]) / len(found[one]):.4g}"),
        }
        for one in found
        if one in kept
    ]


def _events(
    model: ModelSource,
    feeds: Mapping[str, Array],
    threads: int,
    run: Callable[[Callable[[], object]], None],
    *,
    packed: bool,
) -> list[Events]:
    """Returns the operators of each run but the first, or of the only one."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="operators-") as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not packed:
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        source = str(model) if isinstance(model, Path) else bytes(model)
        try:
            session = ort.InferenceSession(source, options, providers=in_order(provider()))
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise CannotLoad(f"onnxruntime cannot load it: {error}") from error
        path = Path()
        try:
            run(lambda: session.run(None, dict(feeds)))
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise ModelFailed(f"the model failed on these inputs: {error}") from error
        finally:
            path = Path(session.end_profiling())
        events = json.loads(path.read_bytes())
    return in_runs(events)


def in_runs(events: Events) -> list[Events]:
    """Returns the operators of each run in the order in which they began; the first run warms up.

    It is left out if there are others.
    """
    whole = sorted(
        (each["ts"], each["ts"] + each["dur"]) for each in events if each.get("name") == "model_run"
    )
    nodes = sorted(
        (each for each in events if each.get("cat") == "Node" and each["name"].endswith(_KERNEL)),
        key=lambda each: (each["ts"], -each["dur"]),
    )
    found: list[list[Mapping[str, Untyped]]] = [[] for _ in whole]
    run = 0
    for node in nodes:
        while run + 1 < len(whole) and node["ts"] >= whole[run + 1][0]:
            run += 1
        if found:
            found[run].append(node)
    return list(found[1:] if len(found) > 1 else found)


def _once(run: Callable[[], object]) -> None:
    run()


def _for(seconds: float, clock: Callable[[], float]) -> Callable[[Callable[[], object]], None]:
    def several(run: Callable[[], object]) -> None:
        run()
        start, runs = clock(), 0
        while runs < MOST_RUNS and (runs < LEAST_RUNS or clock() - start < seconds):
            run()
            runs += 1

    return several


def _end(event: Mapping[str, Untyped]) -> float:
    return float(event["ts"] + event["dur"])


def _name(event: Mapping[str, Untyped]) -> str:
    return str(event["name"]).removesuffix(_KERNEL)


def _key(event: Mapping[str, Untyped]) -> tuple[str, str, str]:
    return event["name"], event["args"]["node_index"], event["args"]["op_name"]


def _operator(shapes: Mapping[str, Untyped], event: Mapping[str, Untyped]) -> Operator:
    """shapes: an event with all inputs. event: one with the outputs of this run."""
    inputs = [next(iter(each.items())) for each in shapes["args"].get("input_type_shape", [])]
    outputs = [next(iter(each.items())) for each in event["args"].get("output_type_shape", [])]
    datatype = next((kind for kind, _ in inputs), next((kind for kind, _ in outputs), ""))
    blocked = _name(event).endswith(_BLOCKED)
    return Operator(
        str(event["args"]["op_name"]) + (".blocked" if blocked else ""),
        datatype,
        tuple(tuple(shape)[:MOST_RANK] for _, shape in inputs),
        tuple(tuple(shape)[:MOST_RANK] for _, shape in outputs),
    )
