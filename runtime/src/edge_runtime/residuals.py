"""Measured over predicted compute times, by exit, in a form of bounded size for Placement.status. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

WINDOW: Final = 500
"""Ratios that are kept for an exit, the newest."""
MOST_RATIOS: Final = 100
"""Ratios that are reported for an exit: order statistics at even distances, the largest included."""
LEAST_RUNS: Final = 100
"""Runs from which on an exit is reported: fewer say little about a high percentile."""
MOST_EXITS: Final = 16
"""Exits that are reported: as many as a route table can have."""
EVERY: Final = 60.0
"""Seconds between two reports."""
_LEAST, _GREATEST = 1e-3, 1e3


class Residuals:
    """The ratios of one model's exits at this node."""

    def __init__(self) -> None:
        self._ratios: dict[str, deque[float]] = {}
        self._model = ""
        self._report: list[dict[str, Any]] = []
        self._reported = float("-inf")

    def add(self, model: str, exit_: str, predicted: float, measured: float) -> None:
        """Adds one run of a single item, in seconds; those of another model are dropped."""
        if predicted <= 0 or measured <= 0:
            return
        if model != self._model:
            self._ratios, self._model = {}, model
        ratios = self._ratios.setdefault(exit_, deque(maxlen=WINDOW))
        ratios.append(min(max(measured / predicted, _LEAST), _GREATEST))

    def report(self, now: float) -> list[dict[str, Any]]:
        """Returns the ratios as the status writes them; the same until EVERY seconds have passed."""
        if now - self._reported >= EVERY:
            self._reported = now
            self._report = [
                {"exit": exit_, "count": len(ratios), "ratios": _spread(sorted(ratios))}
                for exit_, ratios in sorted(self._ratios.items())
                if len(ratios) >= LEAST_RUNS
            ][:MOST_EXITS]
        return self._report


def _spread(ordered: list[float]) -> list[float]:
    """Returns at most MOST_RATIOS of the ratios: each stands for an equal part of those up to it."""
    count = min(len(ordered), MOST_RATIOS)
    places = [-(-(n + 1) * len(ordered) // count) - 1 for n in range(count)]
    return [float(f"{ordered[place]:.3g}") for place in places]
