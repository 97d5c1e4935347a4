"""When requests arrive, in seconds since the start."""

import numpy as np

from edge_planning.errors import require
from edge_planning.simulation.links import Floats


def constant(rate: float, duration: float, first: float = 0.0) -> Floats:
    """`rate` requests a second, evenly spaced, from `first` on and before `duration`."""
    require(rate > 0, f"arrivals: {rate} requests a second are too few")
    return np.arange(first, duration, 1.0 / rate)


def poisson(rng: np.random.Generator, rate: float, duration: float) -> Floats:
    """A Poisson process of `rate` requests a second before `duration`."""
    require(rate > 0, f"arrivals: {rate} requests a second are too few")
    count = int(rng.poisson(rate * duration))
    return np.sort(rng.uniform(0.0, duration, count))
