"""Predicts the files of `make models` from the operators of all others: `make bench-planner`.

onnxruntime's profiler tells the operators that each file runs after graph optimization, and their times, with
one thread. Each file is left out in turn, the times of operators are fitted to all others, and the prediction
is compared with a run of the file. The time of a run is the processor time of its thread, the 5th percentile
of many runs: other processes make runs on a shared machine longer. Measurements are kept in
build/operators, and are taken again if the operators of a file and its run differ by more than SPREAD.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.models.catalogue import ModelFile, catalogue
from benchmarks.models.inputs import Feeds, requests
from edge_planning.costs.operator_times import Observation, ProfiledModel, left_out
from edge_planning.costs.operators import Operator
from edge_runtime.errors import EdgeError
from edge_runtime.inference.operator_profiles import Ran, of_run, operators_of, seconds_of_call
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import NUMPY_TYPES

KEPT: Final = Path(__file__).parents[2] / "build" / "operators"
SPREAD: Final = 0.15
TRIES: Final = 3
PERCENTILE: Final = 5
LEAST, MOST = 0.3, 4.0
"""Seconds to measure a file, for about ten runs of it."""
QUICK: Final = ("opset-", "if-branches", "perceptron", "data-beside")


@dataclass(frozen=True, slots=True)
class Gathered:
    """A file's operators with the profiler's times, and the seconds of a run and of one of no operators."""

    ran: tuple[Ran, ...]
    seconds: float
    call: float

    @property
    def profiled(self) -> ProfiledModel:
        """The operators without what the profiler adds."""
        own = of_run(self.ran, max(self.seconds - self.call, 1e-7 * len(self.ran)))
        return ProfiledModel(tuple(Observation(one.operator, one.seconds) for one in own), self.seconds)

    @property
    def spread(self) -> float:
        """By how much its operators and its run differ; 0 if the profiler takes most of the time."""
        if self.seconds < 1e-5 * len(self.ran):
            return 0.0
        added = 2e-6 * len(self.ran)
        return abs((sum(one.seconds for one in self.ran) - added + self.call) / self.seconds - 1)


def measure(progress: Callable[[str], None], *, quick: bool) -> dict[str, object]:
    """Returns the median error, the share of files within 20 % and within 10 %, and the ratio of each file.

    ratios: predicted by measured seconds. unmeasured: files that onnxruntime's profiler cannot run.
    """
    gathered: dict[str, Gathered] = {}
    unmeasured = []
    with _quietly():
        for model in catalogue(QUICK if quick else ()):
            try:
                gathered[model.name] = _kept(model, progress)
            except EdgeError as error:
                unmeasured.append(model.name)
                progress(f"{model.name}: {error}")
    call = median(each.call for each in gathered.values())
    ratios = left_out({name: each.profiled for name, each in gathered.items()}, call)
    return {"operator_prediction": summary(ratios), "unmeasured": unmeasured}


def summary(ratios: Mapping[str, float]) -> dict[str, Any]:
    """Returns the figures of files that were left out, from predicted by measured seconds."""
    errors = [abs(ratio - 1) for ratio in ratios.values()]
    return {
        "files": len(ratios),
        "median_error": round(median(errors), 3),
        "within_10": round(sum(error <= 0.1 for error in errors) / len(errors), 3),
        "within_20": round(sum(error <= 0.2 for error in errors) / len(errors), 3),
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def _kept(model: ModelFile, progress: Callable[[str], None]) -> Gathered:
    path = KEPT / f"{model.name}.json"
    found = _read(path)
    for _ in range(TRIES):
        if found is not None and found.spread <= SPREAD:
            break
        again = _gathered(model)
        found = again if found is None else _faster(found, again)
        _write(path, found)
        progress(f"{model.name}: {len(found.ran)} operators in {found.seconds * 1e3:.3f} ms")
    assert found is not None
    return found


def _faster(before: Gathered, after: Gathered) -> Gathered:
    """Returns what was disturbed least in both measurements."""
    if [one.operator for one in before.ran] != [one.operator for one in after.ran]:
        return after
    ran = tuple(
        Ran(b.name, b.operator, min(a.seconds, b.seconds)) for a, b in zip(before.ran, after.ran, strict=True)
    )
    return Gathered(ran, min(before.seconds, after.seconds), min(before.call, after.call))


def _gathered(model: ModelFile) -> Gathered:
    session = Session(model.path)
    feeds = requests(model.inputs, {t.name: NUMPY_TYPES[t.datatype] for t in session.inputs})[0]
    session.run(feeds)
    start = time.perf_counter()
    session.run(feeds)
    seconds = min(max(LEAST, 10 * (time.perf_counter() - start)), MOST)
    runs = _times(session, feeds, seconds / 2)
    ran = operators_of(model.path, feeds, seconds=seconds)
    runs += _times(session, feeds, seconds / 2)
    return Gathered(tuple(ran), float(np.percentile(runs, PERCENTILE)), seconds_of_call())


def _times(session: Session, feeds: Feeds, seconds: float) -> list[float]:
    found, end = list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        start = time.thread_time_ns()
        session.run(feeds)
        found.append((time.thread_time_ns() - start) * 1e-9)
    return found


def _read(path: Path) -> Gathered | None:
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    ran = tuple(Ran(each["name"], Operator.of(each), each["seconds"]) for each in kept["ran"])
    return Gathered(ran, kept["seconds"], kept["call"])


def _write(path: Path, found: Gathered) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ran = [{"name": one.name, **one.operator.document(), "seconds": one.seconds} for one in found.ran]
    path.write_text(json.dumps({"ran": ran, "seconds": found.seconds, "call": found.call}))


@contextmanager
def _quietly() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
