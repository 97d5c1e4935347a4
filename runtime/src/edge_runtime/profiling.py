"""Measures the cost of a model on this device: every segment, and every exit as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import cycle, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

import numpy as np

from edge_planning.request_shapes import RequestShape
from edge_runtime.errors import CannotLoad, InputsRefused, ModelFailed
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.operator_profiles import measured_operators
from edge_runtime.inference.providers import CPU
from edge_runtime.inference.sessions import Session, provider
from edge_runtime.model_store import Blob, ModelStore
from edge_runtime.packing_profiles import Unpacked, unpacked
from edge_runtime.request_costs import measure_requests
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.samples.reading import file_in_memory
from edge_runtime.shape_profiles import runs_at_shapes
from edge_runtime.tensors import Array, Tensor, size_of
from edge_runtime.trials.admission import SECONDS, Subject, Trials

Progress = Callable[[str], None]
Pauses = Callable[[], int]
"""How often this process has stood still, so that requests were computed."""
AnyKey = TypeVar("AnyKey")

_MIN_RUNS: Final = 2
_ROUNDS: Final = 6
_WHOLE: Final = 3.0
"""Time to measure a whole exit at each shape, over that of a segment at all of them."""
_UNPACKED: Final = ("", "")
"""Key of the run of the full model without packed weights."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Back-to-back runs of one slice: mean and 95th percentile in seconds, and the number of runs."""

    mean: float
    p95: float
    runs: int

    def document(self) -> dict[str, Any]:
        """The measurement as in a DeviceProfile."""
        return {"meanSeconds": self.mean, "p95Seconds": self.p95, "runs": self.runs}


def measure(
    run: Callable[[], object],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    pauses: Pauses = lambda: 0,
) -> Measured:
    """Runs back to back for `seconds`, at least twice. Runs in a pause of the process do not count.

    The mean is the total time over the number of runs: under a CPU quota single runs look fast until the
    quota is spent, and the waits that follow belong to the cost.
    """
    run()
    times, total = list[float](), 0.0
    end, paused = clock(), pauses()
    while total < seconds or len(times) < _MIN_RUNS:
        run()
        start, end, before, paused = end, clock(), paused, pauses()
        if paused == before:
            times.append(end - start)
            total += end - start
    times.sort()
    rank = min(len(times) - 1, int(0.95 * len(times)))
    return Measured(total / len(times), times[rank], len(times))


def measure_all(
    runs: Mapping[AnyKey, Callable[[], object]],
    seconds: Callable[[AnyKey], float],
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
    *,
    pauses: Pauses = lambda: 0,
    step: Callable[[int, int], None] = lambda done, of: None,
) -> dict[AnyKey, Measured]:
    """Measures each of `runs` for its `seconds`, in several rounds; returns the median of the rounds.

    `step` receives the number of finished measurements and the total after each one. Rounds make sure that a
    passing load on the machine disturbs one round of all slices, not all rounds of one slice or one shape.
    """
    rounds: dict[AnyKey, list[Measured]] = {key: [] for key in runs}
    for number in range(1, _ROUNDS + 1):
        for key, run in runs.items():
            rounds[key].append(measure(run, seconds(key) / _ROUNDS, clock, pauses))
            step(sum(map(len, rounds.values())), _ROUNDS * len(runs))
        progress(f"round {number} of {_ROUNDS}: {len(runs)} slices measured")
    return {
        key: Measured(median(m.mean for m in found), median(m.p95 for m in found), sum(m.runs for m in found))
        for key, found in rounds.items()
    }


class TimedSlice:
    """A segment of a model and the samples that it is measured on, in turn."""

    def __init__(self, session: Session, feeds: Sequence[Mapping[str, Array]]) -> None:
        self._session, self._feeds, self._turn = session, feeds, cycle(feeds)
        self._response = 0

    @property
    def bytes(self) -> int:
        """Bytes of the inputs, as the mean over the samples."""
        tensors = self._session.contract.inputs_by_name
        sizes = [sum(size_of(tensors[n], a) for n, a in feed.items()) for feed in self._feeds]
        return round(sum(sizes) / len(sizes))

    @property
    def response(self) -> int:
        """Bytes of the outputs, as the mean over the samples; 0 before `outputs`."""
        return self._response

    def run(self) -> None:
        """Runs the segment on the next sample."""
        self._session.run(next(self._turn))

    def outputs(self) -> list[dict[str, Array]]:
        """The outputs for each sample."""
        tensors = self._session.outputs
        found = [self._session.run(feed) for feed in self._feeds]
        sizes = [sum(map(size_of, tensors, arrays)) for arrays in found]
        self._response = round(sum(sizes) / len(sizes))
        return [dict(zip([t.name for t in tensors], arrays, strict=True)) for arrays in found]


class TimedSlices:
    """The segments of a model, each measured on the outputs of those before it.

    Zeros inside a network are not a realistic input, and only the segments before know the sizes there.
    """

    def __init__(
        self,
        make: Callable[[Sequence[str], Sequence[str]], Session],
        feeds: Sequence[Mapping[str, Array]],
    ) -> None:
        """make: returns the loaded segment between two sets of tensors."""
        self._make = make
        self._values = [dict(feed) for feed in feeds]
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], TimedSlice] = {}

    def between(self, start: Sequence[str], end: Sequence[str]) -> TimedSlice:
        """The segment that starts at the model's inputs or at the end of an earlier segment."""
        key = tuple(start), tuple(end)
        if key not in self._known:
            session = self._make(start, end)
            names = [t.name for t in session.inputs]
            part = TimedSlice(session, [{name: values[name] for name in names} for values in self._values])
            for values, made in zip(self._values, part.outputs(), strict=True):
                values.update(made)
            self._known[key] = part
        return self._known[key]


async def profile_device(
    store: ModelStore,
    model: str,
    device_class: str,
    node: str,
    *,
    selection: str,
    seconds: float,
    progress: Progress,
    threads: int = 1,
    given: Given = NOTHING,
    samples: Blob | None = None,
    trial_seconds: float = SECONDS,
    isolated: bool = False,
    pauses: Pauses = lambda: 0,
) -> dict[str, Any]:
    """Measures a model on this machine; returns the DeviceProfile.

    It is measured at each shape in its metadata, on the `given` inputs, else on its samples, else on
    generated ones. selection: of the nodes that are measured, as the operator names it. samples: an .npz file
    in place of those of the store. Each slice is tried in a separate process first, for up to
    `trial_seconds`. isolated: this is such a process, which tries nothing and measures inference alone. If
    the model refuses generated inputs, the DeviceProfile says why and has no times of inference. Raises
    StorageError and CannotLoad, InputsRefused if the model fails on samples or given inputs, and BadRequest
    for given inputs that do not match the model.
    """
    metadata = await store.metadata(model)
    shapes = [RequestShape.of(each["inputs"]) for each in metadata.get("shapes", [])]
    generates = given == NOTHING and samples is None
    digest = metadata.get("samples") if generates else None
    pairs = [(segment["from"], segment["to"]) for segment in metadata["segments"]]
    # Services choose the names of exits and share measurements, so an exit is identified by its outputs.
    wholes = {_end(exit_): (exit_["cuts"][0]["tensor"], _end(exit_)) for exit_ in metadata["exits"]}
    names = {_end(exit_): exit_["name"] for exit_ in metadata["exits"]}
    tensors = {_end(exit_): exit_["outputs"] for exit_ in metadata["exits"]}
    tensors |= {cut["tensor"]: cut["tensors"] for exit_ in metadata["exits"] for cut in exit_["cuts"]}
    sources = {start for start, _ in wholes.values()}
    order = list(dict.fromkeys([*wholes.values(), *pairs]))
    full = wholes[_end(metadata["exits"][-1])]
    sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], Session] = {}
    subjects: dict[tuple[tuple[str, ...], tuple[str, ...]], Subject] = {}
    plain: Unpacked | None = None
    with Trials(None, Memory(cgroup_limit()), threads, trial_seconds) as trials:
        for pair in order:
            start, end = (tuple(tensors[name]) for name in pair)
            begins = NOTHING
            if pair[0] in sources:
                begins = given if given != NOTHING or not shapes else Given(shapes[-1].shapes())
            subject = await _subject(store, model, start=start, end=end, given=begins)
            if not isolated:
                trials.admit(subject)
                if pair == full:
                    plain = unpacked(trials, subject, threads)
            subjects[start, end] = subject
            sessions[start, end] = Session(subject.source, subject.inputs, subject.outputs, threads)
    whole = [sessions[tuple(tensors[start]), tuple(tensors[end])] for start, end in wholes.values()]
    inputs = {tensor.name: tensor for session in whole for tensor in session.inputs}
    dimensions = {name: found for session in whole for name, found in session.dimensions.items()}

    def runs_of(feeds: Sequence[Mapping[str, Array]]) -> dict[tuple[str, str], TimedSlice]:
        slices = TimedSlices(lambda start, end: sessions[tuple(start), tuple(end)], feeds)
        return {pair: slices.between(*(tensors[name] for name in pair)) for pair in order}

    described = {
        "model": model,
        "selection": selection,
        "deviceClass": device_class,
        "node": node,
        "threads": threads,
        "executionProvider": provider().label,
        "samplesDigest": digest,
    }
    data = await store.blob(digest) if digest else samples
    with _sample_file(data, inputs) as file:
        try:
            prepared = runs_at_shapes(
                runs_of,
                tuple(inputs.values()),
                dimensions,
                given if file is None else replace(given, samples=file),
                shapes=shapes,
                ranges=metadata.get("indexRanges"),
                progress=progress,
            )
        except InputsRefused as error:
            if not generates:
                raise
            progress(f"not measured: {error}")
            nothing: dict[str, Any] = {"segments": [], "exits": []}
            tried = [{"inputs": shape.document(), **nothing} for shape in shapes]
            # Requests take the same whatever the model: a later measurement on requests lacks nothing.
            requests = await asyncio.to_thread(measure_requests, seconds)
            without = {**nothing, "shapes": tried, "relativeError": 0.0, "refused": str(error)}
            return {**described, **without, "requests": requests.document()}
    # All shapes are measured in each round. Segments are scaled to their exit, so that has to be known best.
    runs = {
        (number, pair): part.run for number, each in enumerate(prepared) for pair, part in each.runs.items()
    }
    last = len(prepared) - 1
    if plain is not None:
        names_in = [tensor.name for tensor in plain.session.inputs]
        feeds = [{name: feed[name] for name in names_in} for feed in prepared[last].samples.feeds]
        runs[last, _UNPACKED] = TimedSlice(plain.session, feeds).run
    ends, share = {*wholes.values(), _UNPACKED}, seconds / len(prepared)
    known = measure_all(
        runs, lambda key: _WHOLE * seconds if key[1] in ends else share, progress, pauses=pauses
    )
    packing: dict[str, float] | None = None
    if plain is not None:
        packing = plain.document(known[last, _UNPACKED].mean, known[last, full].mean)
        progress(f"without packed weights: {packing}")
    at: list[dict[str, Any]] = []
    for number, each in enumerate(prepared):
        measured = {pair: known[number, pair] for pair in each.runs}
        for pair, result in measured.items():
            progress(f"{each.shape or ''} {pair[0]} -> {pair[1]}: {_say(result)}".strip())
        segments = {pair: measured[pair] for pair in pairs}
        exits = {output: measured[pair] for output, pair in wholes.items()}
        at.append(
            {
                "inputs": each.shape.document() if each.shape is not None else {},
                "segments": [{"from": a, "to": b, **m.document()} for (a, b), m in segments.items()],
                "exits": [
                    {
                        "exit": names[output],
                        "output": output,
                        "responseBytes": each.runs[wholes[output]].response,
                        **m.document(),
                    }
                    for output, m in exits.items()
                ],
            }
        )
    subject = subjects[tuple(tensors[full[0]]), tuple(tensors[full[1]])]
    first = prepared[last].samples.feeds[0]
    operators = _operators(subject, first, known[last, full].mean, seconds, threads, progress)
    profile = {
        **described,
        **prepared[-1].samples.document(),
        "segments": at[-1]["segments"],
        "exits": at[-1]["exits"],
        "shapes": at if shapes else [],
        "relativeError": relative_error(metadata["exits"], segments, exits),
        "packing": packing,
        "operators": operators,
    }
    if isolated:
        return profile
    requests = await asyncio.to_thread(measure_requests, seconds)
    progress(f"requests: {requests}")
    return {**profile, "requests": requests.document()}


def _operators(
    subject: Subject,
    feeds: Mapping[str, Array],
    whole: float,
    seconds: float,
    threads: int,
    progress: Progress,
) -> dict[str, Any] | None:
    """The operators of the full model, from which the store estimates other models on this device class.

    None where the CPU does not run them all, or if they differ between runs.
    """
    if provider() is not CPU:
        return None
    source = subject.source if isinstance(subject.source, Path) else bytes(subject.source)
    wanted = {name: feeds[name] for name in (t.name for t in subject.inputs or ())}
    try:
        return measured_operators(source, wanted, whole, seconds=seconds, threads=threads)
    except (CannotLoad, ModelFailed) as error:
        progress(f"operators are not measured: {error}")
        return None


def relative_error(
    described: Sequence[Mapping[str, Any]],
    segments: Mapping[tuple[str, str], Measured],
    exits: Mapping[str, Measured],
) -> float:
    """The largest |sum of segments - whole| / whole over the exits, which are identified by their outputs."""
    worst = 0.0
    for exit_ in described:
        names = [c["tensor"] for c in exit_["cuts"]] + [_end(exit_)]
        total = sum(segments[pair].mean for pair in pairwise(names))
        whole = exits[_end(exit_)].mean
        worst = max(worst, abs(total - whole) / whole)
    return worst


@contextmanager
def _sample_file(data: Blob | None, inputs: Collection[str]) -> Iterator[Path | None]:
    """A file in memory with the samples of some inputs as long as they are read; None without samples.

    The model can have others, which no exit needs.
    """
    if data is None:
        yield None
        return
    target = BytesIO()
    with np.load(BytesIO(data), allow_pickle=False) as arrays:
        np.savez(target, **{name: arrays[name] for name in arrays.files if name in inputs})
    with file_in_memory(target.getvalue()) as file:
        yield file


def _end(exit_: Mapping[str, Any]) -> str:
    return "+".join(exit_["outputs"])


async def _subject(
    store: ModelStore, model: str, *, start: Sequence[str], end: Sequence[str], given: Given
) -> Subject:
    """A slice of the model, with its bytes."""
    made = await store.slice(model, start, end)
    inputs, outputs = (tuple(Tensor.of(t) for t in made[key]) for key in ("inputs", "outputs"))
    digest, data = made["digest"], await store.blob(made["digest"])
    what = f"slice {digest} from {', '.join(start)} to {', '.join(end)}"
    return Subject(what, data, len(data), digest, inputs, outputs, must_fit=False, given=given)


def _say(measured: Measured) -> str:
    return f"{measured.mean * 1e3:.3f} ms (p95 {measured.p95 * 1e3:.3f} ms, {measured.runs} runs)"
