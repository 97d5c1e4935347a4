"""Simulates the runtime's measurements of transfers over a bandwidth trace."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_planning.links.estimates import RateSample, sample_of
from edge_planning_lab.simulation.links import Bandwidth
from edge_runtime.links.transfer_rates import JITTER

SMALLEST, LARGEST = 4e3, 256e3  # bytes: what cuts send
LONGEST = 10.0  # seconds; a transfer that takes longer is aborted and left out
LATE, LATEST = 0.66, 0.005  # share of the transfers that a throttled node delays, and the maximum delay


@dataclass(frozen=True, slots=True)
class MeasuredTransfer:
    """start (s), true rate (bit/s), and the measured interval."""

    start: float
    rate: float
    sample: RateSample


def measured(
    size: float, seconds: float, at: float, error: float, rng: np.random.Generator
) -> RateSample | None:
    """A throttled node's measurement of a transfer: delayed by up to LATEST, with a relative error."""
    late = rng.uniform(0.0, LATEST) if rng.random() < LATE else 0.0
    return sample_of(round(size), seconds * math.exp(error * rng.standard_normal()) + late, JITTER, at)


def transfers(
    link: Bandwidth, rng: np.random.Generator, gap: float, error: float, most: int
) -> Iterator[MeasuredTransfer]:
    """Returns transfers of random size (log-uniform) over one period of a trace.

    Each starts `gap` seconds, on average (exponential), after the end of the previous one.
    """
    now, end = 0.0, link.period or 0.0
    for _ in range(most):
        now += float(rng.exponential(gap))
        size = math.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST)))
        done = link.finish(now, 8 * size)
        if done >= end:
            return
        if done - now > LONGEST:
            now += LONGEST
            continue
        sample = measured(size, done - now, done, error, rng)
        if sample is not None:
            yield MeasuredTransfer(now, 8 * size / (done - now), sample)
        now = done
