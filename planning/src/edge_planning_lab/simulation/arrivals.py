"""Arrival times of requests, in seconds since the start."""

from math import inf, isfinite

import numpy as np

from edge_planning.errors import require
from edge_planning_lab.simulation.links import Floats


def constant(rate: float, duration: float, first: float = 0.0) -> Floats:
    """Returns evenly spaced arrivals at `rate` requests per second, from `first` to before `duration`."""
    _check(rate, duration)
    require(isfinite(first), f"arrivals: first {first} s must be finite")
    return np.arange(first, duration, 1.0 / rate)


def poisson(rng: np.random.Generator, rate: float, duration: float) -> Floats:
    """Returns a Poisson process of `rate` requests per second before `duration`."""
    _check(rate, duration)
    count = int(rng.poisson(rate * duration))
    return np.sort(rng.uniform(0.0, duration, count))


def _check(rate: float, duration: float) -> None:
    require(0 < rate < inf, f"arrivals: rate {rate} must be finite and > 0")
    require(0 <= duration < inf, f"arrivals: duration {duration} s must be finite and >= 0")
