"""Measured over predicted compute times, by exit, in a form of bounded size for Placement.status. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median
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
RECENT: Final = 30.0
"""Seconds of runs that are compared with those before."""
LEAST_RECENT: Final = 20
"""Runs on both sides of a comparison, and those from which on an exit is reported after a shift."""
SHIFT: Final = 1.25
"""Factor between the medians of recent and earlier ratios from which on only the recent ones count."""
_LOOK: Final = 5.0
"""Seconds between two comparisons."""
_LEAST, _GREATEST = 1e-3, 1e3


class Residuals:
    """The ratios of one model's exits at this node.

    If the node becomes slower or faster, as when it is throttled, the ratios before that are dropped and the
    others are reported at once. A look compares at most WINDOW ratios of each exit.
    """

    def __init__(self) -> None:
        self._ratios: dict[str, deque[tuple[float, float]]] = {}
        self._shifted: set[str] = set()
        self._model, self._looked = "", float("-inf")
        self._report: list[dict[str, Any]] = []
        self._reported = float("-inf")

    def add(self, model: str, exit_: str, predicted: float, measured: float, now: float = 0.0) -> None:
        """Adds one run of a single item, in seconds, at second `now`; those of another model are dropped."""
        if predicted <= 0 or measured <= 0:
            return
        if model != self._model:
            self._ratios, self._shifted, self._model = {}, set(), model
        ratios = self._ratios.setdefault(exit_, deque(maxlen=WINDOW))
        ratios.append((now, min(max(measured / predicted, _LEAST), _GREATEST)))

    def report(self, now: float) -> list[dict[str, Any]]:
        """Returns the ratios as the status writes them; the same until EVERY seconds have passed, or a
        shift.
        """
        if self._shift(now) or now - self._reported >= EVERY:
            self._reported = now
            self._report = [
                {"exit": exit_, "count": len(ratios), "ratios": _spread(sorted(each for _, each in ratios))}
                for exit_, ratios in sorted(self._ratios.items())
                if len(ratios) >= (LEAST_RECENT if exit_ in self._shifted else LEAST_RUNS)
            ][:MOST_EXITS]
        return self._report

    def _shift(self, now: float) -> bool:
        """Drops the ratios before a shift, and returns whether there was one."""
        if now - self._looked < _LOOK:
            return False
        self._looked, found = now, False
        for exit_, ratios in self._ratios.items():
            recent = [each for at, each in ratios if at > now - RECENT]
            earlier = [each for at, each in ratios if at <= now - RECENT]
            if min(len(recent), len(earlier)) < LEAST_RECENT:
                continue
            factor = median(recent) / median(earlier)
            if not 1 / SHIFT <= factor <= SHIFT:
                while ratios[0][0] <= now - RECENT:
                    ratios.popleft()
                self._shifted.add(exit_)
                found = True
        return found


def _spread(ordered: list[float]) -> list[float]:
    """Returns at most MOST_RATIOS of the ratios: each stands for an equal part of those up to it."""
    count = min(len(ordered), MOST_RATIOS)
    places = [-(-(n + 1) * len(ordered) // count) - 1 for n in range(count)]
    return [float(f"{ordered[place]:.3g}") for place in places]
