"""The thread that creates and frees sessions, and returns the memory that malloc retains of them.

malloc retains more than the weights of a freed session. Returning it locks the heap of each thread in turn,
for milliseconds where much is unused. A thread that needs memory then waits, and if it has the
interpreter's lock, all others wait with it. Sessions therefore have a thread with a heap of its own, which
is trimmed between two sessions only, and not before none was created or freed for a while: the next session
takes half the time in memory that was not returned.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, TypeVar

_T = TypeVar("_T")
_Work = tuple[Callable[[], None], int]

_LEAST: Final = 8 << 20  # bytes of models below which trimming is not worth its time
_QUIET: Final = 1.0  # seconds
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_APART: Final = 8 << 20  # bytes of a block


def trim_heap() -> None:
    """Returns unused memory of every thread's heap."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # only glibc has it
        trim(0)


def keep_large_blocks_apart() -> None:
    """Has malloc map each large block by itself, so that its memory is returned as soon as it is freed.

    By default malloc retains freed blocks of up to 32 MiB: the layouts of weights that packing has replaced.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # only glibc has it
        mallopt(_M_MMAP_THRESHOLD, _APART)
        # Without it, each few freed bodies of requests would return their memory, which the next ones need.
        mallopt(_M_TRIM_THRESHOLD, 2 * _APART)


class HeapThread:
    """Runs calls that allocate or free much memory one by one, and trims the heap after them.

    quiet: seconds without a call before the heap is trimmed.
    """

    def __init__(self, trim: Callable[[], None] = trim_heap, quiet: float = _QUIET) -> None:
        self._trim, self._quiet, self._unused = trim, quiet, 0
        self._work: SimpleQueue[_Work] = SimpleQueue()
        thread = Thread(target=self._run, name="sessions", daemon=True)
        thread.start()
        self.number = thread.native_id or 0
        """The kernel's number of the thread."""

    def call(self, function: Callable[[], _T], size: int) -> _T:
        """Returns what the function returns or raises. size: bytes of the model that it loads."""
        done: Future[_T] = Future()

        def work() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._work.put((work, size))
        return done.result()

    def later(self, function: Callable[[], None], size: int) -> None:
        """Calls a function that raises nothing, without waiting for it. size: bytes of the model it frees."""
        self._work.put((function, size))

    def trim(self) -> None:
        """Returns unused memory now, after the calls before this one."""
        self.call(self._trim, 0)

    def _run(self) -> None:
        while True:
            try:
                function, size = self._work.get(timeout=self._quiet if self._unused >= _LEAST else None)
            except Empty:
                self._trim()
                self._unused = 0
                continue
            function()
            self._unused += size
