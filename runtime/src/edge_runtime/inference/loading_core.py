"""Gives the threads that load a slice a core of their own.

The kernel often wakes a thread with a request on the core of a loading thread, just before another core
becomes idle. The thread then waits for the next tick, up to 4 ms. While a slice loads, the loading threads
therefore have one core of those that this process may use, and its other threads the rest. This needs no
privileges, and other programs can use all of these cores.

Threads that are confined cannot avoid a core on which another program runs. Nothing is confined while other
programs of normal priority use more than half a core.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import Lock, get_native_id
from typing import Final

Cores = frozenset[int]

_SELF: Final = 0  # the calling thread, to the kernel
_TASKS: Final = Path("/proc/self/task")
_WINDOW: Final = 0.04  # seconds: a few of the kernel's ticks on each core
_BUSY: Final = 0.5  # cores
_NORMAL: Final = (1, 3, 6, 7, 8)  # fields of /proc/stat: user, system, irq, softirq, steal


def parts(usable: AbstractSet[int]) -> tuple[Cores, Cores] | None:
    """Returns the core for loading and those for all else; None for fewer than two cores."""
    if len(usable) < 2:
        return None
    last = frozenset({max(usable)})
    return last, frozenset(usable) - last


def own_threads() -> list[int]:
    """Returns the kernel's numbers of this process's threads."""
    return [int(task.name) for task in _TASKS.iterdir()]


def used_by_others(
    stat: Path = Path("/proc/stat"),
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
    own: Callable[[], float] = time.process_time,
) -> float:
    """Returns the number of cores that other programs use, without those of low priority; 0 if unknown.

    Blocking: it looks at them for 40 ms.
    """

    def passed() -> tuple[float, float]:
        counts = stat.read_text().split("\n", 1)[0].split()
        return clock(), sum(int(counts[i]) for i in _NORMAL) / os.sysconf("SC_CLK_TCK") - own()

    try:
        begin, before = passed()
        sleep(_WINDOW)
        end, after = passed()
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, after - before) / (end - begin)


class LoadingCore:
    """Divides the cores between the threads of this process during a load, one load at a time.

    Only threads that may use all of the process's cores are confined. A thread that starts during a load is
    confined and freed as its creator; a process that starts then needs `release`.
    """

    def __init__(
        self,
        cores_of: Callable[[int], AbstractSet[int]] = os.sched_getaffinity,
        confine: Callable[[int, Collection[int]], None] = os.sched_setaffinity,
        threads: Callable[[], Collection[int]] = own_threads,
        configured: int = os.sysconf("SC_NPROCESSORS_CONF"),
        others: Callable[[], float] = used_by_others,
    ) -> None:
        """threads: returns those of this process. configured: number of cores of the machine. others: returns
        the number of those that other programs use.
        """
        self._cores_of, self._confine, self._threads, self._others = cores_of, confine, threads, others
        self._all = frozenset(range(configured))
        self._lock = Lock()
        self._afterwards: Cores | None = None  # the cores of all threads after the current load

    @contextlib.contextmanager
    def taken(self, *loading: int) -> Iterator[None]:
        """The calling thread and those of these numbers have a core of their own in this context.

        Without effect on a single core, beside busy programs, during another load, and where the kernel does
        not allow it. Blocking: see `used_by_others`.
        """
        if not self._lock.acquire(blocking=False):
            yield
            return
        try:
            usable, afterwards = self._usable()
            apart = parts(usable)
            if apart is None or self._others() > _BUSY:
                yield
                return
            own, others = apart
            self._afterwards = afterwards
            try:
                loaders = {get_native_id(), *loading}
                for thread in self._of(usable):
                    self._set(thread, own if thread in loaders else others)
                yield
            finally:
                self._afterwards = None
                for thread in self._of(own, others):
                    self._set(thread, afterwards)
        finally:
            self._lock.release()

    def release(self, process: int) -> None:
        """Allows a process that a thread of this one has just started all cores."""
        afterwards = self._afterwards
        if afterwards is not None:
            self._set(process, afterwards)

    def _usable(self) -> tuple[Cores, Cores]:
        """The cores that this thread may use, and those to allow it after the load.

        These are all cores of the machine unless the process was started with fewer: then only its cgroup
        decides, also when it is given more.
        """
        usable: Cores = frozenset()
        with contextlib.suppress(OSError):
            usable = frozenset(self._cores_of(_SELF))
            self._confine(_SELF, self._all)
            if self._cores_of(_SELF) == usable:
                return usable, self._all
            self._confine(_SELF, usable)
        return usable, usable

    def _of(self, *cores: Cores) -> Iterator[int]:
        """The threads that may use just one of these sets of cores."""
        for thread in self._threads():
            with contextlib.suppress(OSError):  # it has ended
                if self._cores_of(thread) in cores:
                    yield thread

    def _set(self, thread: int, cores: Cores) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._confine(thread, cores)


LOADING_CORE: Final = LoadingCore()
"""That of this process."""
