"""Which requests of a service are within the rate that the plan counts with. Pure: times are arguments."""

from __future__ import annotations

from math import inf
from typing import Final

# Requests arrive unevenly: those of this many seconds may come at once.
_BURST: Final = 2.0


class PlannedRate:
    """A token bucket. rate: requests per second; None: all requests are within the plan."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self._left, self._at = inf, 0.0

    def beyond(self, now: float) -> bool:
        """Counts a request, and returns whether it exceeds the rate."""
        if self.rate is None:
            return False
        most = max(_BURST * self.rate, 1.0)
        self._left = min(self._left + (now - self._at) * self.rate, most)
        self._at = now
        if self._left < 1.0:
            return True
        self._left -= 1.0
        return False
