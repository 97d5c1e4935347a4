"""The traces, one job each."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_planning_lab.simulation import Bandwidth, LognormalProcess, OutageProcess, read_trace

SLOS = tuple(n / 10 for n in range(1, 11))
QUICK_SLOS = (0.1, 0.2, 0.5)
SYNTHETIC = 40
SECONDS = 900.0
QUICK_SECONDS = 120.0
LOADED_SECONDS = 60.0
QUICK_LOADED_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One trace: its name, its text or its seed, and the requested figures.

    seconds: length of a synthetic trace. loaded_seconds: simulated at most under load.
    """

    name: str
    text: str | None
    seed: int
    slos: Sequence[float]
    every: float
    arrivals: str
    seconds: float
    loaded_seconds: float

    def random(self, *more: int) -> np.random.Generator:
        """Returns a generator seeded by the trace's name and other numbers."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), *more])


def link_of(job: TraceJob) -> Bandwidth:
    """The trace, or the synthetic process of the job's seed: every fourth one with outages."""
    if job.text is not None:
        return read_trace(job.text)
    rng = np.random.default_rng(job.seed)
    if job.seed % 4 == 3:
        return OutageProcess().sample(rng, job.seconds)
    return LognormalProcess().sample(rng, job.seconds)


def jobs_of(traces: Path | None, *, quick: bool, every: float, arrivals: str) -> tuple[list[TraceJob], str]:
    """Returns one job for each trace, and the source of the traces: a folder, or a synthetic process."""
    slos, seconds = (QUICK_SLOS, QUICK_SECONDS) if quick else (SLOS, SECONDS)
    loaded = QUICK_LOADED_SECONDS if quick else LOADED_SECONDS
    more = (slos, every, arrivals, seconds, loaded)
    if traces is None:
        count = 6 if quick else SYNTHETIC
        source = "synthetic: Markov-modulated lognormal AR(1), every fourth Gilbert-Elliott; seeds from 0"
        return [TraceJob(f"synthetic-{seed:03}", None, seed, *more) for seed in range(count)], source
    files = sorted(path for path in traces.iterdir() if path.is_file())
    chosen = files[:: max(len(files) // 6, 1)] if quick else files
    return [TraceJob(path.name, path.read_text(), 0, *more) for path in chosen], str(traces)
