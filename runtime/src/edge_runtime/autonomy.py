"""How long this node serves on without a word from the API server; when it came last lies on the disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_runtime.model_store import write_whole
from edge_runtime.status import duration

_WRITE_EVERY: Final = 60.0


class LastContact:
    """When the API server answered last. `clock` gives seconds that go on over a reboot: time.time does."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self._written = self._at = _read(file)

    def heard(self) -> None:
        """It answered just now."""
        self._at = self._clock()

    @property
    def age(self) -> float:
        """Seconds since then. For a clock that is set back, as on a board that has none of its own while it
        is off, the count begins again.
        """
        now = self._clock()
        if self._at is None or now < self._at - _WRITE_EVERY:
            self._at = now
        return max(now - self._at, 0.0)

    def keep(self) -> None:
        """Writes it down when it is a while since the last time. Blocking; a full disk is no harm now."""
        if self._at is None or (self._written is not None and abs(self._at - self._written) < _WRITE_EVERY):
            return
        self._written = self._at
        with contextlib.suppress(OSError):
            write_whole(self._file, f"{self._at:.0f}\n".encode())


def refusal(autonomy: float | None, age: float) -> str:
    """Why requests are refused after `age` seconds without a word; empty while they are not."""
    if autonomy is None or age <= autonomy:
        return ""
    return (
        f"the API server was last heard {duration(age) or 'an unknown time'} ago and this service's autonomy "
        f"is {duration(autonomy)}; it serves again once the API server answers"
    )


def _read(file: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return float(file.read_text())
    return None
