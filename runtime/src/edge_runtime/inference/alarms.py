"""Calls functions after a time, on one thread for all of them.

A thread for each would make its caller wait until it has started: for milliseconds where the cores are busy.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from heapq import heappop, heappush
from threading import TIMEOUT_MAX, Condition, Thread
from typing import Final

_log = logging.getLogger(__name__)

_Entry = tuple[float, int]  # the time of an alarm and its number


class Alarms:
    """Alarms of this process. Its thread starts with the first one."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._queue: list[_Entry] = []
        self._functions: dict[int, Callable[[], None]] = {}
        self._last, self._started = 0, False

    def after(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Calls the function on the alarms' thread in this many seconds. Returns what cancels that."""
        with self._changed:
            self._last += 1
            entry = time.monotonic() + seconds, self._last
            self._functions[self._last] = function
            heappush(self._queue, entry)
            if not self._started:
                self._started = True
                Thread(target=self._run, name="alarms", daemon=True).start()
            elif self._queue[0] == entry:
                self._changed.notify()
        return lambda: self._cancel(entry[1])

    def _cancel(self, number: int) -> None:
        with self._changed:
            self._functions.pop(number, None)  # its entry stays until its time

    def _run(self) -> None:
        while True:
            function = self._next()
            try:
                function()
            except Exception:  # the other alarms must not be lost
                _log.exception("an alarm failed")

    def _next(self) -> Callable[[], None]:
        """Waits for the next alarm and takes it."""
        with self._changed:
            while True:
                left = self._queue[0][0] - time.monotonic() if self._queue else TIMEOUT_MAX
                if left > 0:
                    self._changed.wait(min(left, TIMEOUT_MAX))
                    continue
                _, number = heappop(self._queue)
                function = self._functions.pop(number, None)
                if function is not None:
                    return function


ALARMS: Final = Alarms()
