"""When requests arrive, in seconds since the start."""

from math import inf, isfinite

import numpy as np

from edge_planning.errors import require
from edge_planning_lab.simulation.links import Floats


def constant(rate: float, duration: float, first: float = 0.0) -> Floats:
    """`rate` requests a second, evenly spaced, from `first` on and before `duration`."""
    _check(rate, duration)
    require(isfinite(first), f"arrivals: first {first} s is not a time")
    return np.arange(first, duration, 1.0 / rate)


def poisson(rng: np.random.Generator, rate: float, duration: float) -> Floats:
    """A Poisson process of `rate` requests a second before `duration`."""
    _check(rate, duration)
    count = int(rng.poisson(rate * duration))
    return np.sort(rng.uniform(0.0, duration, count))


def _check(rate: float, duration: float) -> None:
    require(0 < rate < inf, f"arrivals: {rate} requests a second are none, or no number")
    require(0 <= duration < inf, f"arrivals: duration {duration} s is negative or not a number")
