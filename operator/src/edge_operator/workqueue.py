"""A work queue of keys that events mark as dirty: one run per key at a time, retried with backoff."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

DEBOUNCE = 0.3
FIRST_RETRY = 1.0
LAST_RETRY = 60.0


@dataclass
class Schedule(Generic[Key]):
    """When each key is due, in seconds of the caller's clock."""

    _due: dict[Key, float] = field(default_factory=dict)
    _running: set[Key] = field(default_factory=set)
    _failures: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key, at: float) -> None:
        """Schedules a key, unless it is due earlier; a running key becomes due after its run."""
        self._due[key] = min(at, self._due.get(key, at))

    def take(self, now: float) -> list[Key]:
        """Returns the keys that are due and not running, and marks them as running."""
        taken = [key for key, at in self._due.items() if at <= now and key not in self._running]
        for key in taken:
            del self._due[key]
            self._running.add(key)
        return taken

    def wait(self, now: float) -> float | None:
        """Returns the seconds until a key that is not running is due; None if there is none."""
        times = [at for key, at in self._due.items() if key not in self._running]
        return max(0.0, min(times) - now) if times else None

    def succeed(self, key: Key, again_at: float | None) -> None:
        """Ends a run; the key is due again at `again_at`, if given."""
        self._running.discard(key)
        self._failures.pop(key, None)
        if again_at is not None:
            self.add(key, again_at)

    def fail(self, key: Key, now: float) -> float:
        """Ends a run that failed; the key is due again after a delay that doubles, which is returned."""
        self._running.discard(key)
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(LAST_RETRY, FIRST_RETRY * 2.0**failures)
        self.add(key, now + delay)
        return delay


class WorkQueue(Generic[Key]):
    """Runs `work` for dirty keys. `work` returns the seconds until the key's next run, or None."""

    def __init__(
        self, work: Callable[[Key], Awaitable[float | None]], clock: Callable[[], float], parallel: int = 4
    ) -> None:
        self._work = work
        self._clock = clock
        self._parallel = asyncio.Semaphore(parallel)
        self._schedule: Schedule[Key] = Schedule()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: Key, delay: float = DEBOUNCE) -> None:
        """Marks a key as dirty; its run starts after `delay` seconds and covers all events until then."""
        self._schedule.add(key, self._clock() + delay)
        self._changed.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        try:
            while True:
                self._changed.clear()
                for key in self._schedule.take(self._clock()):
                    task = asyncio.create_task(self._run_one(key), name=f"reconcile {key}")
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                try:
                    await asyncio.wait_for(self._changed.wait(), self._schedule.wait(self._clock()))
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()

    async def _run_one(self, key: Key) -> None:
        async with self._parallel:
            try:
                again = await self._work(key)
            except Exception:
                delay = self._schedule.fail(key, self._clock())
                logging.getLogger(__name__).exception("reconciling %s failed: retrying in %.0f s", key, delay)
            else:
                self._schedule.succeed(key, None if again is None else self._clock() + again)
        self._changed.set()
