"""How many moves for accuracy are allowed now, given a number a minute."""

from dataclasses import dataclass, replace
from math import isfinite

from edge_planning.errors import require

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class MoveBudget:
    """A budget that refills evenly, up to the moves of one minute.

    Attributes:
        per_minute: Moves a minute.
        spent: Moves that are not refilled yet, at `since`.
        since: Time in seconds, of any clock that only moves forward.
    """

    per_minute: float
    spent: float = 0.0
    since: float = 0.0

    def __post_init__(self) -> None:
        good = isfinite(self.per_minute) and self.per_minute >= 0
        require(good, f"per_minute {self.per_minute} must be finite and >= 0")

    def moves(self, now: float) -> int:
        """Returns the moves that are left at a time, as `moves` of `share_by_entitlement`."""
        return max(int(self.per_minute - self._open(now) + 1e-9), 0)

    def after(self, moves: int, now: float) -> "MoveBudget":
        """Returns the budget after `EntitledPlan.spent` moves."""
        return replace(self, spent=self._open(now) + moves, since=max(now, self.since))

    def _open(self, now: float) -> float:
        passed = max(now - self.since, 0.0)
        return max(self.spent - passed * self.per_minute / MINUTE, 0.0)
