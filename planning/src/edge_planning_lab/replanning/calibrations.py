"""Quantile levels that are correct in the long run, regardless of the errors of the model.

Adaptive conformal inference (Gibbs and Candes 2021, "Adaptive Conformal Inference Under Distribution Shift"):
the level requested from the model rises after each sample below the quantile and falls after each sample
above it, so that in the long run a share q of the samples lies below the quantile q. It is applied to a fixed
set of levels on the logit scale, with linear interpolation between them.
"""

from dataclasses import dataclass

import numpy as np

from edge_planning_lab.replanning.arrays import Floats

LEVELS: Floats = np.array([0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98])
RATE = 0.05
_LOGITS: Floats = np.log(LEVELS / (1 - LEVELS))
_STEPS: Floats = RATE / np.sqrt(LEVELS * (1 - LEVELS))
_REACH = 1.5


@dataclass(frozen=True, slots=True)
class Calibration:
    """shifts: Shift of each level of LEVELS on the logit scale."""

    shifts: tuple[float, ...] = (0.0,) * len(LEVELS)

    def after(self, below: float) -> "Calibration":
        """Returns the calibration after one more sample; `below` is the model's probability below it."""
        hit = below <= self._asked()
        shifts = np.clip(np.array(self.shifts) + _STEPS * (LEVELS - hit), -_REACH, _REACH)
        return Calibration(tuple(shifts.tolist()))

    def points(self) -> tuple[Floats, Floats]:
        """Returns (model's probability, calibrated probability), both rising from 0 to 1."""
        asked = np.concatenate(([0.0], self._asked(), [1.0]))
        return asked, np.concatenate(([0.0], LEVELS, [1.0]))

    def _asked(self) -> Floats:
        # Shifts can temporarily change the order of adjacent levels.
        logits = np.maximum.accumulate(_LOGITS + np.array(self.shifts) + 1e-9 * np.arange(len(LEVELS)))
        asked: Floats = 1 / (1 + np.exp(-logits))
        return asked
