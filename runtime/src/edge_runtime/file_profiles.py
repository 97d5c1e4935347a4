"""The profile of a model in a file, measured on this machine: for a person with one board and no cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from edge_runtime.alone import admit_file, open_model, read_exits
from edge_runtime.errors import BadTensor, CannotLoad, EdgeError, ModelFailed
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.sessions import Session
from edge_runtime.profiling import Measured, measure_all
from edge_runtime.slicing import Graph, digest_of
from edge_runtime.tensors import zeros
from edge_runtime.trials.judging import SECONDS, Subject, Trials

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What a model costs here.

    segments: (from, to) between neighbouring cuts, with the bytes that crossing at `from` costs.
    exits: each output as a whole, by its exit's name.
    note: why there are no segments.
    """

    file: str
    digest: str
    threads: int
    segments: dict[Key, tuple[int, Measured]]
    exits: dict[str, tuple[str, Measured]]
    note: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "file": self.file,
            "model": self.digest,
            "threads": self.threads,
            "segments": [
                {"from": a, "to": b, "bytes": size, **measured.document()}
                for (a, b), (size, measured) in self.segments.items()
            ],
            "exits": [
                {"exit": name, "output": output, **measured.document()}
                for name, (output, measured) in self.exits.items()
            ],
            "note": self.note,
        }

    def table(self) -> str:
        """As a person reads it."""
        lines = [("from", "to", "bytes to cross", "mean ms", "p95 ms", "runs")]
        for (start, end), (size, measured) in self.segments.items():
            lines.append((start, end, f"{size:,}", *_columns(measured)))
        for name, (output, measured) in self.exits.items():
            lines.append((f"exit {name}" if name != output else "whole", output, "", *_columns(measured)))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, tuple("-" * w for w in widths))  # type: ignore[arg-type]
        rows = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
        return "\n".join([*rows, *([f"note: {self.note}"] if self.note else [])])


def profile_file(
    path: Path,
    threads: int,
    seconds: float,
    progress: Callable[[int, int], None],
    trial_seconds: float = SECONDS,
) -> FileProfile:
    """Measures a model for about `seconds` a slice; `progress` gets (done, all).

    What is measured is tried in a process of its own first, for up to `trial_seconds` each. Raises CannotLoad
    for a file that cannot be served. A graph that cannot be cut is measured as a whole.
    """
    trials = Trials(None, Memory(cgroup_limit()), threads, trial_seconds)
    admit_file(path, trials)
    whole = open_model(path, threads)
    data = path.read_bytes()
    exits = read_exits(whole) or {t.name: t.name for t in whole.outputs}
    note, cuts, graph = "", {}, None
    try:
        graph = Graph(data)
        cuts = {output: graph.cuts(output) for output in exits.values()}
    except EdgeError as error:
        note = f"measured as a whole, since {error}"
    sizes = {cut.tensor: cut.bytes for found in cuts.values() for cut in found}
    ends = {cut.tensor: cut.tensors for found in cuts.values() for cut in found}
    ends |= {output: (output,) for output in cuts}
    pairs: dict[Key, None] = {}
    for output, found in cuts.items():
        pairs.update(dict.fromkeys(pairwise([*(c.tensor for c in found), output])))
    if graph is None or note:
        runs = {("", name): _runner(whole) for name in exits}
    else:
        parts: dict[Key, tuple[Sequence[str], Sequence[str]]] = {
            ("", name): (cuts[output][0].tensors, (output,)) for name, output in exits.items()
        }
        parts |= {(a, b): (ends[a], ends[b]) for a, b in pairs}
        with trials:
            runs = {key: _runner(_part(graph, *part, threads, trials)) for key, part in parts.items()}
    try:
        measured = measure_all(runs, seconds, lambda _: None, step=progress)
    except (BadTensor, ModelFailed) as error:
        raise CannotLoad(f"{path}: it cannot be measured on zeros ({error})") from error
    return FileProfile(
        str(path),
        digest_of(data),
        threads,
        {pair: (sizes[pair[0]], measured[pair]) for pair in pairs},
        {name: (output, measured["", name]) for name, output in exits.items()},
        note,
    )


class ProgressBar:
    """A bar on a terminal; nothing where there is none to draw it on."""

    def __init__(self, stream: TextIO = sys.stderr, width: int = 30) -> None:
        self._stream, self._width = stream, width
        self._drawn = stream.isatty()

    def __call__(self, done: int, of: int) -> None:
        if self._drawn:
            full = self._width * done // of
            bar = "#" * full + "." * (self._width - full)
            self._stream.write(f"\r[{bar}] {100 * done // of:3d} %" + ("\n" if done == of else ""))
            self._stream.flush()


def _columns(measured: Measured) -> tuple[str, str, str]:
    return f"{measured.mean * 1e3:.3f}", f"{measured.p95 * 1e3:.3f}", str(measured.runs)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names to the left, figures to the right."""
    return [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]


def _part(graph: Graph, start: Sequence[str], end: Sequence[str], threads: int, trials: Trials) -> Session:
    inputs, outputs = graph.contract(start, end)
    data = graph.slice(start, end)
    what = f"the part from {', '.join(start)} to {', '.join(end)}"
    trials.admit(Subject(what, data, len(data), "", tuple(inputs), tuple(outputs), must_run=False))
    return Session(data, inputs, outputs, threads)


def _runner(session: Session) -> Callable[[], object]:
    feeds = zeros(session.inputs)
    return lambda: session.run(feeds)
