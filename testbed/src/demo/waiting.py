"""Waits for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo.errors import NotInTime


def wait_for(
    what: str, ready: Callable[[], bool], seconds: float, state: Callable[[], str], every: float = 1.0
) -> None:
    """Polls until `ready` is True. Raises NotInTime with the state at the deadline."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {seconds:g} s. {state()}")
        time.sleep(every)
