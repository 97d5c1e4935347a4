"""Graceful shutdown within a time limit.

Neither the interpreter nor the event loop exits while one of its threads is in an operator that does not
return.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

# Seconds that requests in flight get; `docker stop` kills after 10.
GRACE: Final = 6.0
# After those: to tell callers who are not answered, and to close.
GOODBYE: Final = 1.5
_IDLE: Final = 0.5


def stop_on_signals(stop: asyncio.Event, within: float) -> None:
    """SIGTERM and SIGINT set `stop`, and `within` so many seconds the process is gone, whatever runs then."""

    def begin() -> None:
        if stop.is_set():
            return
        stop.set()
        last = threading.Timer(within, _leave)
        last.daemon = True
        last.start()
        with contextlib.suppress(OSError, ValueError):  # ends what holds the interpreter's lock, too
            faulthandler.dump_traceback_later(within + GOODBYE, exit=True)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` gives; None when `stop` comes first, which cancels it."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopping.cancel()


def end_when_interrupted(status: int) -> None:
    """SIGINT ends the process with this status when the main thread is in a run and does not hear of it.

    Called on the main thread, before any event loop of it has handlers of its own.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(reading, 1) != bytes([signal.SIGINT]):
            pass
        time.sleep(_IDLE)
        os._exit(status)

    threading.Thread(target=watch, name="interrupts", daemon=True).start()


def leave_threads_behind() -> None:
    """Called last: ends the process where a thread would keep it."""
    until = time.monotonic() + _IDLE
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join(max(until - time.monotonic(), 0.0))
            if thread.is_alive():
                _leave()


def _leave() -> None:
    _log.warning("the model is in an operator that does not return: the process ends without it")
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
