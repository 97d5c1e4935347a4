"""The steps that run now: plans, writes, looks at servers, reconciles of namespaces. Each has a limit.

A step that takes longer than its limit is stuck: its thread waits, and its loop with it. Liveness fails then
(`health`), since only a restart ends a thread.

Cost: two changes of a dictionary for each step.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

PLAN: Final = 600.0
"""Limit of a plan, in seconds: thousands of services that are planned for the first time take minutes."""
WORK: Final = 300.0
"""Limit of other steps, in seconds. Each of their requests has a time-out of 120 s or less."""
DOWNLOAD: Final = float("inf")
"""What the model store downloads can be of any size."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that runs. kind: of a fixed set. since: in seconds of the monotonic clock. limit: in seconds."""

    kind: str
    name: str
    since: float
    limit: float


class Steps:
    """The steps of a process. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._running: dict[int, Step] = {}

    @contextlib.contextmanager
    def step(self, kind: str, name: str, limit: float = WORK) -> Iterator[None]:
        """Notes a step while it runs."""
        number = next(self._count)
        with self._lock:
            self._running[number] = Step(kind, name, self._clock(), limit)
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]

    @property
    def running(self) -> tuple[Step, ...]:
        """The steps that run now, the oldest first."""
        with self._lock:
            return tuple(sorted(self._running.values(), key=lambda step: step.since))


RUNNING: Final = Steps()
"""The steps of this process."""


def stuck(steps: Iterable[Step], now: float) -> tuple[Step, ...]:
    """Returns the steps that take longer than their limit."""
    return tuple(step for step in steps if now - step.since > step.limit)
