"""How much the noisy tenant sends, phase by phase. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FACTOR: Final = 10


@dataclass(frozen=True)
class LoadPhase:
    """A span in which the noisy tenant sends `factor` times its declared rate."""

    name: str
    factor: float
    seconds: float

    @property
    def noisy(self) -> bool:
        """Whether the noisy tenant sends more than it declares."""
        return self.factor > 1


def planned(seconds: float) -> tuple[LoadPhase, ...]:
    """Returns the phases; the noisy tenant sends ten times its declared rate for `seconds`."""
    return (
        LoadPhase("before", 1, seconds / 2),
        LoadPhase(f"{FACTOR}x", FACTOR, seconds),
        LoadPhase("after", 1, seconds / 4),
    )
