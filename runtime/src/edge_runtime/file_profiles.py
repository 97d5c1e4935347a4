"""Profile of a model file on this machine, without a cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TextIO

from edge_planning.declared_exits import FINAL
from edge_planning.text_tables import text_table
from edge_runtime.errors import BadTensor, CannotLoad, EdgeError, ModelFailed
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.sessions import Session
from edge_runtime.profiling import Measured, TimedSlice, TimedSlices, measure_all
from edge_runtime.samples.flags import NOTHING, Given
from edge_runtime.samples.making import Samples, make
from edge_runtime.slicing import Graph, digest_of
from edge_runtime.slicing.reading import parse
from edge_runtime.standalone import admit_file, load_model, read_exits
from edge_runtime.trials.admission import SECONDS, Subject, Trials

Key = tuple[str, str]
Outputs = tuple[str, ...]

_LONG: Final = 2.0  # seconds; shorter measurements show no progress
_EVERY: Final = 10.0


@dataclass(frozen=True, slots=True)
class FileProfile:
    """Measured cost of a model on this machine.

    samples: the inputs it was measured on.
    segments: measurement by (from, to) between adjacent cuts, and the bytes that cross at `from`.
    exits: outputs and measurement of each exit as a whole, by name.
    note: why there are no segments.
    """

    file: str
    digest: str
    threads: int
    samples: Samples
    segments: dict[Key, tuple[int, Measured]]
    exits: dict[str, tuple[Outputs, Measured]]
    note: str = ""

    def document(self) -> dict[str, Any]:
        """The profile as JSON."""
        return {
            "file": self.file,
            "model": self.digest,
            "threads": self.threads,
            **self.samples.document(),
            "segments": [
                {"from": a, "to": b, "bytes": size, **measured.document()}
                for (a, b), (size, measured) in self.segments.items()
            ],
            "exits": [
                {"exit": name, "output": "+".join(outputs), **measured.document()}
                for name, (outputs, measured) in self.exits.items()
            ],
            "note": self.note,
        }

    def table(self) -> str:
        """The profile as a table for people."""
        rows = [("from", "to", "bytes to cross", "mean ms", "p95 ms", "runs")]
        for (start, end), (size, measured) in self.segments.items():
            rows.append((start, end, f"{size:,}", *_columns(measured)))
        for name, (outputs, measured) in self.exits.items():
            rows.append((f"exit {name}", "+".join(outputs), "", *_columns(measured)))
        table = text_table(rows, right=range(2, 6), ruled=True)
        notes = [f"note: {self.note}"] if self.note else []
        return "\n".join([table, *self.samples.lines(), *notes])


def profile_file(
    path: Path,
    threads: int,
    seconds: float,
    progress: Callable[[int, int], None],
    given: Given = NOTHING,
    trial_seconds: float = SECONDS,
) -> FileProfile:
    """Measures a model for about `seconds` a slice and reports progress by `progress(done, total)`.

    The model runs on the `given` inputs, each slice on the outputs of the slices before it. Each is tried in
    a separate process first, for up to `trial_seconds`. A graph that cannot be cut is measured as a whole.

    Raises CannotLoad for a file that cannot be served or fails on the inputs, and BadRequest for given inputs
    that do not match the model.
    """
    trials = Trials(None, Memory(cgroup_limit()), threads, trial_seconds)
    admit_file(path, trials, given)
    whole = load_model(path, threads)
    samples = make(whole.inputs, whole.dimensions, given)
    progress(0, 1)
    try:
        for feeds in samples.feeds:
            whole.run(feeds)
    except (BadTensor, ModelFailed) as error:
        what = "zeros" if samples.made else "the given inputs"
        raise CannotLoad(f"{path}: cannot be measured on {what} ({error}): {samples.advice()}") from error
    data = path.read_bytes()
    stated = read_exits(whole)
    exits = stated or {FINAL: tuple(t.name for t in whole.outputs)}
    note = ""
    try:
        graph = Graph(_with_sizes(data, samples.sizes()))
        if not stated:  # a constant output takes no time
            exits = {FINAL: graph.computed} if graph.computed else exits
        with trials:
            parts = _parts(graph, exits, samples, partial(_part, graph, threads, trials), progress)
    except EdgeError as error:
        note = f"measured as a whole, because {error}"
        if any(a.dimension for a in samples.assumed):
            note += f": give their sizes by {samples.shape_flags()}"
        parts = {("", name): TimedSlice(whole, samples.feeds) for name in exits}
    measured = measure_all(
        {key: part.run for key, part in parts.items()}, lambda _: seconds, lambda _: None, step=progress
    )
    return FileProfile(
        str(path),
        digest_of(data),
        threads,
        samples,
        {key: (part.bytes, measured[key]) for key, part in parts.items() if key[0]},
        {name: (outputs, measured["", name]) for name, outputs in exits.items()},
        note,
    )


def _parts(
    graph: Graph,
    exits: Mapping[str, Outputs],
    samples: Samples,
    part: Callable[[Sequence[str], Sequence[str]], Session],
    progress: Callable[[int, int], None],
) -> dict[Key, TimedSlice]:
    """Measures each exit as a whole, under the key (nothing, its name), and the segments between the cuts.

    Raises EdgeError for a graph that cannot be cut, or whose segments do not run one after the other.
    """
    made, parts = TimedSlices(part, samples.feeds), dict[Key, TimedSlice]()
    cuts = {outputs: graph.cuts(outputs) for outputs in exits.values()}
    for name, outputs in exits.items():
        parts["", name] = made.between(cuts[outputs][0].tensors, outputs)
    for outputs, found in cuts.items():
        for start, end in pairwise([*(c.tensors for c in found), outputs]):
            parts["+".join(start), "+".join(end)] = made.between(start, end)
            progress(0, 1)
    return parts


def _part(graph: Graph, threads: int, trials: Trials, start: Sequence[str], end: Sequence[str]) -> Session:
    """Loads the segment between two cuts after its trial."""
    inputs, outputs = graph.contract(start, end)
    data = graph.slice(start, end)
    what = f"the segment from {', '.join(start)} to {', '.join(end)}"
    trials.admit(Subject(what, data, len(data), "", inputs, outputs, must_fit=False))
    return Session(data, inputs, outputs, threads)


def _columns(measured: Measured) -> tuple[str, str, str]:
    return f"{measured.mean * 1e3:.3f}", f"{measured.p95 * 1e3:.3f}", str(measured.runs)


def _with_sizes(data: bytes, shapes: Mapping[str, Sequence[int]]) -> bytes:
    """Fixes the open dimensions of the model's inputs to the sizes in `shapes`.

    The first dimension, the batch, and dimensions of size -1 stay open. Raises NotOnnx.
    """
    model = parse(data)
    changed = False
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, (dim, size) in enumerate(zip(dims, shapes.get(value.name, ()), strict=False)):
            if axis and size >= 0 and (not dim.HasField("dim_value") or dim.dim_value < 0):
                dim.dim_value = size
                changed = True
    return model.SerializeToString() if changed else data


class Progress:
    """Shows how far a measurement is: a bar on a terminal, otherwise a line from time to time.

    Called after each step with the steps done and their total.
    """

    def __init__(
        self,
        stream: TextIO = sys.stderr,
        width: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._width, self._clock = stream, width, clock
        self._drawn = stream.isatty()
        self._next = clock() + _LONG

    def __call__(self, done: int, of: int) -> None:
        share = done / of
        if self._drawn:
            full = int(self._width * share)
            bar = "#" * full + "." * (self._width - full)
            self._stream.write(f"\r[{bar}] {share:4.0%}" + ("\n" if done == of else ""))
            self._stream.flush()
        elif self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            self._stream.write(f"profile: {share:.0%} measured\n")
            self._stream.flush()
