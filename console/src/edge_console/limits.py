"""How often a viewer may request what takes a plan. Pure: the clock is an argument."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from edge_console.errors import TooManyError

_VIEWERS = 1024


class Limiter:
    """A bucket of tokens for each viewer. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float], *, rate: float, burst: int) -> None:
        """rate: requests per second over time. burst: requests at once after a pause."""
        self._clock, self._rate, self._burst = clock, rate, burst
        self._lock, self._left = threading.Lock(), OrderedDict[str, tuple[float, float]]()

    def take(self, viewer: str) -> None:
        """Counts one request. Raises TooManyError."""
        with self._lock:
            now = self._clock()
            left, at = self._left.get(viewer, (float(self._burst), now))
            left = min(left + (now - at) * self._rate, float(self._burst))
            if left < 1:
                wait = (1 - left) / self._rate
                raise TooManyError(
                    f"too many requests for plans: at most {self._rate:g} per second: wait {wait:.1f} s",
                    wait,
                )
            self._left[viewer] = left - 1, now
            self._left.move_to_end(viewer)
            while len(self._left) > _VIEWERS:
                self._left.popitem(last=False)
