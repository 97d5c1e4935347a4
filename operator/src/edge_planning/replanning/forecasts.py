"""The bandwidth that the next transfer will see, as a distribution."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning.replanning.arrays import Floats
from edge_planning.replanning.changepoints import Runs, aged
from edge_planning.replanning.distributions import student_below

PARTS = 16
_GRID = 129
_REACH = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """A mixture of Student's t distributions of the natural logarithm of the bandwidth in bit/s.

    All arrays: [parts]; weight sums to 1.
    """

    weight: Floats
    center: Floats
    scale: Floats
    freedom: Floats

    def probability_above(self, bandwidth: npt.ArrayLike) -> Floats:
        """P(bandwidth of the next transfer >= each of these), in bit/s, any shape; 1 at 0, 0 at infinity."""
        asked = np.asarray(bandwidth, dtype=np.float64)
        require(bool(np.all(asked >= 0)), f"bandwidth {asked} bit/s is negative or not a number")
        with np.errstate(divide="ignore"):
            points = np.log(asked)
        finite = np.isfinite(points)
        above = 1 - self._below(np.where(finite, points, 0.0))
        return np.where(finite, above, np.where(points < 0, 1.0, 0.0))

    def quantile(self, level: float) -> float:
        """The bandwidth (bit/s) below which the next transfer stays with this probability."""
        require(0 < level < 1, f"quantile level {level} is not between 0 and 1")
        low, high = float((self.center - 60 * self.scale).min()), float((self.center + 60 * self.scale).max())
        for _ in range(4):
            points = np.linspace(low, high, 17)
            place = int(np.clip(np.searchsorted(self._below(points), level), 1, 16))
            low, high = float(points[place - 1]), float(points[place])
        return float(np.exp((low + high) / 2))

    @property
    def median(self) -> float:
        """In bit/s."""
        return self.quantile(0.5)

    @property
    def mean(self) -> float:
        """The expected bandwidth in bit/s of the distribution without its outermost 2 %.

        The mean of the whole is infinite: the logarithm has the heavy tails of Student's t.
        """
        levels = (np.arange(25) + 0.5) / 25
        return float(np.mean([self.quantile(float(level)) for level in levels]))

    def _below(self, points: Floats) -> Floats:
        t = (points[..., None] - self.center) / self.scale
        return np.asarray(student_below(t, self.freedom) @ self.weight)


def forecast(runs: Runs, age: float) -> Forecast:
    """The distribution for a transfer that starts `age` seconds after the last observation.

    With the chance of a change since then the level is drawn anew from what the link has shown; without one
    it has drifted.
    """
    later = aged(runs, age)
    weight = later.weight.sum(axis=0).ravel()
    freedom = np.broadcast_to(2 * later.alpha, later.mean.shape).ravel()
    scale = np.sqrt(later.noise * (1 + 1 / later.kappa)).ravel()
    center = later.mean.ravel()
    if len(weight) > PARTS:
        keep = np.argpartition(weight, -PARTS)[-PARTS:]
        weight, center, scale, freedom = weight[keep], center[keep], scale[keep], freedom[keep]
    return Forecast(weight / weight.sum(), center, scale, freedom)
