"""Measures how long this machine delays a runnable process."""

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

_SLEEP: Final = 0.002
_LOOK: Final = 0.02
LEAST: Final = 0.004  # shorter ones are normal on a busy machine

Kind = Literal["stall", "starved", "collection"]
Hear = Callable[[Kind, float, float], None]


def watch(hear: Hear) -> None:
    """Calls `hear` with each long delay of this process from now on: kind, end (monotonic) and seconds.

    Stall: a thread that sleeps for 2 ms woke this much too late, because the machine was busy or another
    thread held the interpreter lock. Starved: within the last 20 ms or more, a runnable thread of this
    process waited this long for a core, by the kernel's accounting. Collection: the garbage collector ran
    this long.
    """
    threading.Thread(target=_look, args=(hear,), name="delays", daemon=True).start()
    began = 0.0

    def collected(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        now = time.monotonic()
        if phase == "start":
            began = now
        elif now - began > LEAST:
            hear("collection", now, now - began)

    gc.callbacks.append(collected)


def _look(hear: Hear) -> None:
    waited, looked = _waited(), time.monotonic()
    while True:
        before = time.monotonic()
        time.sleep(_SLEEP)
        now = time.monotonic()
        if now - before - _SLEEP > LEAST:
            hear("stall", now, now - before - _SLEEP)
        if now - looked > _LOOK:
            waits, looked = _waited(), now
            longest = max((seconds - waited.get(task, 0.0) for task, seconds in waits.items()), default=0.0)
            waited = waits
            if longest > LEAST:
                hear("starved", now, longest)


def _waited() -> dict[str, float]:
    """Returns the seconds that each thread has waited for a core so far (proc(5), schedstat)."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        except OSError:  # it has ended
            continue
    return found
