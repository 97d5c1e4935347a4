"""Distributions of bandwidth (bit/s), for which route tables are optimized."""

from dataclasses import dataclass
from math import log
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require

Floats = npt.NDArray[np.float64]


class Distribution(Protocol):
    """A distribution of bandwidth between two bounds."""

    def share(self, low: Floats, high: Floats) -> Floats:
        """P(low <= bandwidth < high), for ranges as arrays."""

    def inverse(self, low: Floats, high: Floats) -> Floats:
        """E[1 / bandwidth; low <= bandwidth < high] in s/bit, for ranges as arrays."""


@dataclass(frozen=True, slots=True)
class LogUniform:
    """Log-uniform: every bandwidth ratio is equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require(
            0 < self.low < self.high < float("inf"),
            f"log-uniform: low {self.low} and high {self.high} must satisfy 0 < low < high",
        )

    def share(self, low: Floats, high: Floats) -> Floats:
        low, high = (np.minimum(np.maximum(b, self.low), self.high) for b in (low, high))
        shares: Floats = np.log(high / low) / log(self.high / self.low)
        return shares

    def inverse(self, low: Floats, high: Floats) -> Floats:
        low, high = (np.minimum(np.maximum(b, self.low), self.high) for b in (low, high))
        inverses: Floats = (1 / low - 1 / high) / log(self.high / self.low)
        return inverses


@dataclass(frozen=True, slots=True)
class Weighted:
    """Discrete: values above 0, e.g. measurements, with weights (not all 0; equal by default)."""

    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.values), "weighted bandwidths: no values")
        require(
            all(0 < v < float("inf") for v in self.values), f"weighted bandwidths: {self.values} must be > 0"
        )
        require(
            not self.weights
            or (
                len(self.weights) == len(self.values)
                and all(0 <= w < float("inf") for w in self.weights)
                and sum(self.weights) > 0
            ),
            f"weighted bandwidths: {self.weights} are not valid weights of {len(self.values)} values",
        )

    def share(self, low: Floats, high: Floats) -> Floats:
        return self._sum(np.ones(len(self.values)), low, high)

    def inverse(self, low: Floats, high: Floats) -> Floats:
        return self._sum(1 / np.asarray(self.values), low, high)

    def _sum(self, of: Floats, low: Floats, high: Floats) -> Floats:
        values = np.asarray(self.values)
        weights = np.asarray(self.weights) if self.weights else np.ones(len(values))
        order = np.argsort(values)
        sums = np.concatenate(([0.0], np.cumsum((weights * of / weights.sum())[order])))
        first, last = (np.searchsorted(values[order], bound, side="left") for bound in (low, high))
        found: Floats = sums[last] - sums[first]
        return found


def lognormal(median: float, sigma: float, points: int = 512) -> Weighted:
    """Returns a lognormal distribution as its quantiles at the midpoints of `points` equal shares."""
    require(median > 0 and sigma >= 0, f"lognormal: median {median} must be > 0, sigma {sigma} >= 0")
    normal = NormalDist()
    z = np.array([normal.inv_cdf((n + 0.5) / points) for n in range(points)])
    return Weighted(tuple(float(v) for v in median * np.exp(sigma * z)))
