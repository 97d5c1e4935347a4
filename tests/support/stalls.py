"""When the machine did not run this process, so that tests can subtract it from times that they measure."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

_EVERY: Final = 0.005
_LATE: Final = 0.02  # a thread that wakes this much late was kept from running


class Stalls:
    """Within its block, a thread that wakes every 5 ms records when it woke late."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stalls")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> float:
        """Seconds of stalls between two times of the monotonic clock."""
        return sum(max(min(b, end) - max(a, begin), 0.0) for a, b in self._found)

    def _watch(self) -> None:
        due = time.monotonic() + _EVERY
        while not self._stop.wait(due - time.monotonic()):
            now = time.monotonic()
            if now - due > _LATE:
                self._found.append((due, now))
            due = now + _EVERY
