"""A work queue of keys that events mark as dirty: one run per key at a time, retried with backoff.

Cost: an event takes time proportional to the logarithm of the keys that are due at some time.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import random
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from edge_operator.errors import OperatorError

Key = TypeVar("Key", bound=Hashable)

DEBOUNCE = 0.3
_PAUSE, _LONGEST_PAUSE = 2.0, 3.0
"""Least delay of a run after an event, relative to what the last run took, and at most."""
FIRST_RETRY = 1.0
LAST_RETRY = 60.0
_DOUBLINGS = 10
"""More than it takes to reach the last retry."""
_SPARE = 100
"""Outdated entries that are kept in any case: with more than one for each key, they are removed."""


@dataclass
class Schedule(Generic[Key]):
    """When each key is due, in seconds of the caller's clock. jitter: returns random numbers from 0 to 1."""

    jitter: Callable[[], float] = random.SystemRandom().random
    _due: dict[Key, float] = field(default_factory=dict)
    _order: list[tuple[float, int, Key]] = field(default_factory=list)
    """A heap with an entry for each key that is due and not running. Other entries are outdated."""
    _count: Iterator[int] = field(default_factory=itertools.count)
    _running: dict[Key, float] = field(default_factory=dict)
    """When each key that runs was due."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _not_before: dict[Key, float] = field(default_factory=dict)
    """The retry of each key that failed, if it is due because of an event alone."""
    _mended: set[Key] = field(default_factory=set)
    """Running keys for which a cause of failure changed during the run."""

    def add(self, key: Key, at: float, *, mended: bool = False) -> None:
        """Schedules a key, unless it is due earlier; a running key becomes due after its run.

        A key that failed is not due before its retry, unless it is `mended`: what it failed for has changed.
        """
        if mended:
            self._forget_failures(key)
            if key in self._running:
                self._mended.add(key)
        at = max(at, self._not_before.get(key, at))
        if at < self._due.get(key, math.inf):
            self._set_due(key, at)

    def take(self, now: float, free: int) -> list[Key]:
        """Returns the keys that are due and not running, at most `free`, and marks them as running.

        A key that has to wait for a free place stays due: its run covers the events until it begins.
        """
        taken = list[Key]()
        while len(taken) < free and (first := self._first()) is not None and first[0] <= now:
            _, key = first
            heapq.heappop(self._order)
            del self._due[key]
            self._running[key] = first[0]
            taken.append(key)
        return taken

    def wait(self, now: float) -> float | None:
        """Returns the seconds until the next key that is not running is due; None if no key waits."""
        first = self._first()
        return None if first is None else max(0.0, first[0] - now)

    def due(self, key: Key) -> float:
        """Returns when a key that runs was due."""
        return self._running[key]

    def succeed(self, key: Key, again_at: float | None) -> None:
        """Ends a run; the key is due again at `again_at`, if given."""
        self._end(key)
        self._mended.discard(key)
        self._forget_failures(key)
        if again_at is not None:
            self.add(key, again_at)

    def fail(self, key: Key, now: float) -> float:
        """Ends a run that failed. Returns the delay before the next one, which doubles, with jitter.

        Events during the run make it due no earlier, unless one of them mended it.
        """
        self._end(key)
        if key in self._mended:
            self._mended.discard(key)
            return max(0.0, self._due[key] - now)
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        doubled = FIRST_RETRY * 2.0 ** min(failures, _DOUBLINGS)
        delay = min(LAST_RETRY, doubled) * (0.5 + self.jitter() / 2)
        self._not_before[key] = now + delay
        self._set_due(key, now + delay)
        return delay

    def _set_due(self, key: Key, at: float) -> None:
        self._due[key] = at
        heapq.heappush(self._order, (at, next(self._count), key))
        if len(self._order) > 2 * len(self._due) + _SPARE:
            self._order = [each for each in self._order if self._due.get(each[2]) == each[0]]
            heapq.heapify(self._order)

    def _end(self, key: Key) -> None:
        """Ends a run: the key can be taken again if it became due during the run."""
        self._running.pop(key, None)
        if key in self._due:
            self._set_due(key, self._due[key])

    def _first(self) -> tuple[float, Key] | None:
        """Returns when the first key that is not running is due, and the key."""
        while self._order:
            at, _, key = self._order[0]
            if key not in self._running and self._due.get(key) == at:
                return at, key
            heapq.heappop(self._order)
        return None

    def _forget_failures(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._not_before.pop(key, None)


class WorkQueue(Generic[Key]):
    """Runs `work` for dirty keys. `work` returns the seconds until the key's next run, or None."""

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        clock: Callable[[], float],
        parallel: int = 4,
        jitter: Callable[[], float] = random.SystemRandom().random,
        *,
        waited: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """waited: called with the seconds for which a key was due when its run begins."""
        self._work = work
        self._waited = waited
        self._clock = clock
        self._parallel = parallel
        self._schedule: Schedule[Key] = Schedule(jitter)
        self._pauses: dict[Key, float] = {}
        """Delays of keys whose last run took long."""
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: Key, delay: float = DEBOUNCE, *, mended: bool = False) -> None:
        """Marks a key as dirty; its run starts after `delay` seconds and covers all events until then.

        A key that failed waits for its retry, unless it is `mended`: what it failed for has changed. One
        whose runs take long waits longer: not one run an event.
        """
        delay = max(delay, self._pauses.get(key, 0.0))
        self._schedule.add(key, self._clock() + delay, mended=mended)
        self._changed.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                self._changed.clear()
                now = self._clock()
                for key in self._schedule.take(now, self._free):
                    self._waited(now - self._schedule.due(key))
                    task = asyncio.create_task(self._run_one(key), name=f"reconcile {key}")
                    self._tasks.add(task)
                    task.add_done_callback(self._done)
                # Without a free place, the next change is the end of a run.
                due = self._schedule.wait(self._clock()) if self._free else None
                with contextlib.suppress(TimeoutError):
                    # wait_for of Python 3.11 loses a cancellation that comes with the event.
                    async with asyncio.timeout(due):
                        await self._changed.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    @property
    def _free(self) -> int:
        return self._parallel - len(self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def _run_one(self, key: Key) -> None:
        began = self._clock()
        try:
            again = await self._work(key)
        except OperatorError as error:
            delay = self._schedule.fail(key, self._clock())
            logging.getLogger(__name__).warning("%s: %s: retrying in %.0f s", key, error, delay)
        except Exception:
            delay = self._schedule.fail(key, self._clock())
            logging.getLogger(__name__).exception("reconciling %s failed: retrying in %.0f s", key, delay)
        else:
            pause = _PAUSE * (self._clock() - began)
            self._pauses.pop(key, None)
            if pause > DEBOUNCE:
                self._pauses[key] = min(pause, _LONGEST_PAUSE)
            self._schedule.succeed(key, None if again is None else self._clock() + again)
