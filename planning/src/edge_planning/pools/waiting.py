"""How long requests wait at a place that several demands use."""

from collections.abc import Iterable
from functools import lru_cache
from math import ceil, floor, log10

import numpy as np

from edge_planning.costs.queueing import OVERLOADED, shared
from edge_planning.problems import Traffic


@lru_cache(maxsize=65536)
def wait(streams: tuple[Traffic, ...], servers: int, percentile: float) -> float:
    """Returns the percentile of the wait in seconds at a place with these requests; OVERLOADED at most."""
    if not streams:
        return 0.0
    columns = ([getattr(one, name) for one in streams] for name in ("rate", "seconds", "variance"))
    rates, seconds, variances = (np.array(column) for column in columns)
    return min(float(shared(rates, seconds, variances, servers).wait_quantile(percentile)), OVERLOADED)


def moments(stream: Traffic, count: int = 1) -> tuple[float, float, float]:
    """Returns the rate of `count` such streams, their busy seconds per second, and their second moment."""
    rate = stream.rate * count
    return rate, rate * stream.seconds, rate * stream.seconds**2 * (1 + stream.variance)


def mixed(parts: Iterable[tuple[float, float, float]]) -> Traffic | None:
    """Returns streams, given by their moments, as one; None if nothing is left of them."""
    rate = busy = second = 0.0
    for one in parts:
        rate, busy, second = rate + one[0], busy + one[1], second + one[2]
    if rate <= 1e-12 or busy <= 1e-12:
        return None
    mean = busy / rate
    return Traffic(rate, mean, max(second / rate / mean**2 - 1, 0.0))


def rounded(stream: Traffic | None) -> Traffic | None:
    """Returns requests rounded up to three digits, so that equal problems are found again."""
    if stream is None:
        return None
    return Traffic(*(rounded_up(one, 3) for one in (stream.rate, stream.seconds, stream.variance)))


def rounded_up(amount: float, digits: int) -> float:
    """Returns an amount rounded up to some significant digits."""
    if amount <= 0:
        return 0.0
    step = 10.0 ** (floor(log10(amount)) - digits + 1)
    return float(f"{ceil(amount / step - 1e-9) * step:.6g}")


def rounded_down(amount: float, digits: int) -> float:
    """Returns an amount rounded down to some significant digits."""
    if amount <= 0:
        return 0.0
    step = 10.0 ** (floor(log10(amount)) - digits + 1)
    return float(f"{floor(amount / step + 1e-9) * step:.6g}")
