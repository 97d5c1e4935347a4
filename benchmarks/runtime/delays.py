"""How long this machine keeps a process that wants to run from running."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

_SLEEP: Final = 0.002
LEAST: Final = 0.004  # shorter ones are an everyday affair on a machine with work on it

Kind = Literal["stall", "collection"]
Hear = Callable[[Kind, float, float], None]


def watch(hear: Hear) -> None:
    """From now on calls `hear` with each long delay of this process: kind, end (monotonic) and seconds.

    A stall: a thread that sleeps 2 ms woke that much too late, because the machine was busy or this process
    held on to its interpreter. A collection: the garbage collector ran that long.
    """
    threading.Thread(target=_oversleep, args=(hear,), name="delays", daemon=True).start()
    began = 0.0

    def collected(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        now = time.monotonic()
        if phase == "start":
            began = now
        elif now - began > LEAST:
            hear("collection", now, now - began)

    gc.callbacks.append(collected)


def _oversleep(hear: Hear) -> None:
    while True:
        before = time.monotonic()
        time.sleep(_SLEEP)
        now = time.monotonic()
        if now - before - _SLEEP > LEAST:
            hear("stall", now, now - before - _SLEEP)
