"""How long something usually takes, and what it should not take longer than. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SPARE: Final = 1.3  # a computation is given this much of its usual time
_DEVIATIONS: Final = 4.0
_SMOOTHING: Final = 0.2


@dataclass(slots=True)
class Pace:
    """How long something takes here lately, in seconds: a mean and a mean deviation that follow within a few
    requests (as TCP measures its round trip: Jacobson, Congestion Avoidance and Control, 1988).
    """

    seconds: float = 0.0
    deviation: float = 0.0

    def add(self, seconds: float) -> None:
        """One more measurement."""
        error = seconds - self.seconds
        self.seconds += _SMOOTHING * error
        self.deviation += _SMOOTHING * (abs(error) - self.deviation)

    @property
    def most(self) -> float:
        """What it should not take longer than."""
        return max(_SPARE * self.seconds, self.seconds + _DEVIATIONS * self.deviation)
