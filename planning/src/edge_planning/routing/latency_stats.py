"""Running statistics of a latency: mean, deviation and an upper bound. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_planning.routing.deadlines import COMPUTE_MARGIN

_DEVIATIONS: Final = 4.0
_SMOOTHING: Final = 0.2


@dataclass(slots=True)
class LatencyStats:
    """Mean and mean deviation in seconds, smoothed so that they adapt within a few requests, as TCP estimates
    its round-trip time (Jacobson, Congestion Avoidance and Control, 1988).
    """

    seconds: float = 0.0
    deviation: float = 0.0

    def add(self, seconds: float) -> None:
        """Adds a measurement."""
        error = seconds - self.seconds
        self.seconds += _SMOOTHING * error
        self.deviation += _SMOOTHING * (abs(error) - self.deviation)

    @property
    def most(self) -> float:
        """The upper bound that a deadline should allow for."""
        return max(COMPUTE_MARGIN * self.seconds, self.seconds + _DEVIATIONS * self.deviation)
