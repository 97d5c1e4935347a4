"""How long this node keeps serving without contact to the API server; the last contact is kept on disk."""

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
    """Time of the last contact to the API server.

    `clock` returns seconds that survive a reboot: time.time.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self._written = self._at = _read(file)

    def heard(self) -> None:
        """Records a contact now."""
        self._at = self._clock()

    @property
    def age(self) -> float:
        """Seconds since the last contact.

        Counts from zero again if the clock was set back, as on boards without a battery-backed clock.
        """
        now = self._clock()
        if self._at is None or now < self._at - _WRITE_EVERY:
            self._at = now
        return max(now - self._at, 0.0)

    def keep(self) -> None:
        """Saves the time if the last save is old enough. Blocking. Ignores errors such as a full disk."""
        if self._at is None or (self._written is not None and abs(self._at - self._written) < _WRITE_EVERY):
            return
        self._written = self._at
        with contextlib.suppress(OSError):
            write_whole(self._file, f"{self._at:.0f}\n".encode())


def refusal(autonomy: float | None, age: float) -> str:
    """Why requests are refused after `age` seconds without contact; empty if they are not."""
    if autonomy is None or age <= autonomy:
        return ""
    return (
        f"the last contact to the API server was {duration(age) or 'an unknown time'} ago, longer than the "
        f"autonomy of {duration(autonomy)}: requests are served again after the next contact"
    )


def _read(file: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return float(file.read_text())
    return None
