"""The distribution of the bandwidth of the next transfer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_planning.errors import require
from edge_planning_lab.replanning.arrays import Floats
from edge_planning_lab.replanning.calibrations import Calibration
from edge_planning_lab.replanning.changepoints import Runs, aged
from edge_planning_lab.replanning.distributions import student_below

PARTS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """A mixture of Student's t distributions of the natural logarithm of the bandwidth in bit/s.

    All arrays are [parts]; weight sums to 1. `model` and `calibrated` are the points of a Calibration.
    """

    weight: Floats
    center: Floats
    scale: Floats
    freedom: Floats
    model: Floats
    calibrated: Floats

    def probability_above(self, bandwidth: npt.ArrayLike) -> Floats:
        """Returns P(bandwidth of the next transfer >= this), for bit/s of any shape; 1 at 0, 0 at infinity.

        Raises:
            BadValueError: A bandwidth is negative or not a number.
        """
        asked = np.asarray(bandwidth, dtype=np.float64)
        require(bool(np.all(asked >= 0)), f"bandwidth {asked} bit/s must be >= 0")
        points = np.log(np.clip(asked, 1e-30, 1e30))
        return np.where(asked == np.inf, 0.0, np.where(asked == 0, 1.0, 1 - self._below(points)))

    def quantiles(self, levels: npt.ArrayLike) -> Floats:
        """Returns the quantiles of the bandwidth of the next transfer in bit/s.

        Raises:
            BadValueError: A level is not between 0 and 1.
        """
        asked = np.asarray(levels, dtype=np.float64)
        require(bool(np.all((asked > 0) & (asked < 1))), f"quantile level {levels!r} must be between 0 and 1")
        low = np.full(asked.shape, float((self.center - 40 * self.scale).min()))
        high = np.full(asked.shape, float((self.center + 40 * self.scale).max()))
        steps = np.linspace(0.0, 1.0, 17)
        for _ in range(4):
            points = low[..., None] + (high - low)[..., None] * steps
            place = np.clip((self._below(points) < asked[..., None]).sum(axis=-1), 1, 16)
            width = (high - low) / 16
            low, high = low + (place - 1) * width, low + place * width
        found: Floats = np.exp((low + high) / 2)
        return found

    def quantile(self, level: float) -> float:
        """Returns one quantile in bit/s."""
        return float(self.quantiles(level))

    @property
    def median(self) -> float:
        """The median bandwidth in bit/s."""
        return self.quantile(0.5)

    @property
    def mean(self) -> float:
        """Mean of the quantiles from 2 to 98 %, in bit/s.

        The full mean is infinite, because the logarithm has the heavy tails of Student's t.
        """
        return float(np.mean(self.quantiles((np.arange(25) + 0.5) / 25)))

    def _below(self, points: Floats) -> Floats:
        t = (points[..., None] - self.center) / self.scale
        return np.interp(student_below(t, self.freedom) @ self.weight, self.model, self.calibrated)


def forecast(runs: Runs, age: float, calibration: Calibration | None = None) -> Forecast:
    """Returns the distribution for a transfer that starts `age` seconds after the last sample.

    After a change, the level follows the distribution observed on the link; without a change, it has drifted.
    Only the PARTS components of the mixture with the highest weights are kept.
    """
    later = aged(runs, age)
    weight = later.weight.sum(axis=0).ravel()
    keep = np.argpartition(weight, -PARTS)[-PARTS:] if len(weight) > PARTS else np.arange(len(weight))
    freedom = np.broadcast_to(later.freedom, later.mean.shape).ravel()[keep]
    scale = np.sqrt(later.variance.ravel()[keep])
    model, calibrated = (calibration or Calibration()).points()
    kept = weight[keep]
    return Forecast(kept / kept.sum(), later.mean.ravel()[keep], scale, freedom, model, calibrated)
