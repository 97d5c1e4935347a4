"""Progress of a long task: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

_LONG: Final = 2.0  # seconds; shorter tasks show no progress
_EVERY: Final = 10.0


class Progress:
    """Called after each step with the steps done and their total."""

    def __init__(
        self,
        stream: TextIO = sys.stderr,
        width: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._width, self._clock = stream, width, clock
        self._drawn = stream.isatty()
        self._next = clock() + _LONG

    def __call__(self, done: int, of: int) -> None:
        share = done / of
        if self._drawn:
            full = int(self._width * share)
            bar = "#" * full + "." * (self._width - full)
            self._stream.write(f"\r[{bar}] {share:4.0%}" + ("\n" if done == of else ""))
            self._stream.flush()
        elif self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            self._stream.write(f"profile: {share:.0%} measured\n")
            self._stream.flush()
