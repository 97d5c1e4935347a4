"""Measures forecasts of the next transfer's bandwidth: `python -m benchmarks.forecasting --traces DIR`.

Transfers of random size (10 kB to 1 MB, log-uniform) start at random times (exponential gaps) on each trace.
Before each, it is forecast from the previous transfers by the last value, a moving average (EWMA, weight
0.3), the harmonic mean of the last five, and the median of `edge_planning_lab.replanning`. Errors are
absolute differences of natural logarithms. Prints one JSON object as its last line.

A trace keeps each rate for 1 or 5 s, so the last value is often exact, unlike real measurements. Each setting
is therefore run without and with a measurement error of 10 % (log-normal) in the samples, but not in the
forecast bandwidth. The parameters were tuned on every second trace by name (the even ones); --half odd, the
default, measures on the others.
"""

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_planning_lab.replanning import BandwidthSample, State, observed
from edge_planning_lab.simulation.links import Bandwidth
from edge_planning_lab.simulation.traces import LognormalProcess, read_trace

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9])
GAPS = (0.5, 3.0, 10.0, 30.0)  # mean seconds between two transfers
ERRORS = (0.0, 0.1)
SYNTHETIC = 20
LEAST = 20  # transfers; with fewer a trace is left out
LOWEST = 1e3  # bit/s; logarithms of less are not compared


@dataclass(frozen=True, slots=True)
class TraceTransfer:
    """start in s, duration in s, log of bit/s."""

    start: float
    seconds: float
    value: float


@dataclass(slots=True)
class Errors:
    """The transfers of one trace."""

    ours: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    average: list[float] = field(default_factory=list)
    harmonic: list[float] = field(default_factory=list)
    below: list[list[bool]] = field(default_factory=list)
    pinball: list[float] = field(default_factory=list)
    pinball_last: list[float] = field(default_factory=list)


def transfers(link: Bandwidth, rng: np.random.Generator, gap: float, most: int) -> Iterator[TraceTransfer]:
    """Returns random transfers over one period of a trace."""
    now, end = 0.0, link.period or 0.0
    for _ in range(most):
        now += float(rng.exponential(gap))
        bits = 8 * math.exp(rng.uniform(math.log(1e4), math.log(1e6)))
        done = link.finish(now, bits)
        if done >= end:
            return
        yield TraceTransfer(now, done - now, math.log(max(bits / (done - now), LOWEST)))
        now = done


def pinball(value: float, quantiles: np.ndarray) -> float:
    """The mean loss of quantiles over LEVELS (Koenker and Bassett 1978)."""
    return float(np.mean(np.where(value < quantiles, 1 - LEVELS, LEVELS) * np.abs(value - quantiles)))


def errors_of(
    many: Sequence[TraceTransfer], rng: np.random.Generator, error: float, spent: list[float]
) -> Errors:
    """The errors of all methods on one trace."""
    found, state, seen = Errors(), State(), np.array([])
    average = 0.0
    for transfer in many:
        if len(seen):
            began = time.perf_counter()
            quantiles = np.log(state.forecast(transfer.start).quantiles(LEVELS))
            spent.append(time.perf_counter() - began)
            found.ours.append(abs(float(quantiles[3]) - transfer.value))
            found.last.append(abs(float(seen[-1]) - transfer.value))
            found.average.append(abs(average - transfer.value))
            harmonic = -math.log(float(np.mean(np.exp(-seen[-5:]))))
            found.harmonic.append(abs(harmonic - transfer.value))
            found.below.append((transfer.value < quantiles).tolist())
            found.pinball.append(pinball(transfer.value, quantiles))
            found.pinball_last.append(pinball(transfer.value, np.full(len(LEVELS), seen[-1])))
        measured = transfer.value + error * float(rng.standard_normal())
        average = measured if not len(seen) else 0.7 * average + 0.3 * measured
        seen = np.append(seen, measured)
        state = observed(state, BandwidthSample(math.exp(measured)), transfer.start + transfer.seconds)
    return found


def setting(
    links: Sequence[tuple[str, Bandwidth]], gap: float, error: float, most: int, spent: list[float]
) -> dict[str, object]:
    """Measures one gap and one measurement error over all traces; all traces have equal weight."""
    every = []
    for name, link in links:
        rng = np.random.default_rng(zlib.crc32(f"{name} {gap} {error}".encode()))
        many = list(transfers(link, rng, gap, most))
        if len(many) >= LEAST:
            every.append(errors_of(many, rng, error, spent))
    methods = ("last", "average", "harmonic", "ours")
    means = {method: np.array([np.mean(getattr(one, method)) for one in every]) for method in methods}
    covered = np.concatenate([np.array(one.below) for one in every]).mean(axis=0)
    return {
        "gap_s": gap,
        "error": error,
        "traces": len(every),
        "log_error": {method: round(float(mean.mean()), 4) for method, mean in means.items()},
        "ours_vs_last": round(float(means["ours"].mean() / means["last"].mean()), 4),
        "beats_last": round(float(np.mean(means["ours"] < means["last"])), 3),
        "beats_average": round(float(np.mean(means["ours"] < means["average"])), 3),
        "pinball": round(float(np.mean([np.mean(one.pinball) for one in every])), 4),
        "pinball_last": round(float(np.mean([np.mean(one.pinball_last) for one in every])), 4),
        "coverage": {f"{level:g}": round(float(c), 4) for level, c in zip(LEVELS, covered, strict=True)},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures all gaps and measurement errors."""
    parser = argparse.ArgumentParser(prog="forecasting", description=__doc__)
    parser.add_argument("--traces", type=Path, help="a folder of files with lines `seconds Mbit/s`")
    parser.add_argument(
        "--half", choices=("odd", "even", "both"), default="odd", help="traces by index in the list"
    )
    parser.add_argument("--transfers", type=int, default=150, help="maximum number of transfers per trace")
    parser.add_argument("--quick", action="store_true", help="few traces")
    arguments = parser.parse_args(argv)
    if arguments.traces is None:
        process, period = LognormalProcess(), 1200.0
        links = [(f"seed {n}", process.sample(np.random.default_rng(n), period)) for n in range(SYNTHETIC)]
        source = "synthetic: Markov-modulated lognormal AR(1); seeds from 0"
    else:
        paths = sorted(path for path in arguments.traces.iterdir() if path.is_file())
        paths = {"odd": paths[1::2], "even": paths[::2], "both": paths}[arguments.half]
        links = [(path.name, read_trace(path.read_text())) for path in paths]
        source = f"{arguments.traces}, {arguments.half} files"
    links = links[:: max(len(links) // 6, 1)] if arguments.quick else links
    spent: list[float] = []
    found = []
    for error in ERRORS:
        for gap in GAPS:
            found.append(setting(links, gap, error, arguments.transfers, spent))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    answer = {
        "source": source,
        "quick": arguments.quick,
        "settings": found,
        "forecast_and_quantiles_us": round(float(np.median(spent)) * 1e6, 1),
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
