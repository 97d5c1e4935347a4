"""Graceful shutdown within a time limit.

Neither the interpreter nor the event loop exits while one of its threads runs an operator that does not
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

# Seconds for requests in flight; `docker stop` kills after 10.
GRACE: Final = 6.0
# Seconds after those: to send errors to the remaining clients, and to close.
GOODBYE: Final = 1.5
_IDLE: Final = 0.5


def stop_on_signals(stop: asyncio.Event, within: float) -> None:
    """Sets `stop` on SIGTERM and SIGINT, and ends the process after `within` seconds at the latest."""

    def begin() -> None:
        if stop.is_set():
            return
        stop.set()
        last = threading.Timer(within, _leave)
        last.daemon = True
        last.start()
        with contextlib.suppress(OSError, ValueError):  # also ends a thread that holds the interpreter's lock
            faulthandler.dump_traceback_later(within + GOODBYE, exit=True)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Returns the result of `work`; cancels it and returns None if `stop` is set first."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopping.cancel()


def end_when_interrupted(status: int) -> None:
    """Ends the process with this status on SIGINT even if the main thread is inside a native call.

    Must be called on the main thread, before an event loop installs handlers.
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
    """Ends the process if a thread would keep it alive. Must be the last call."""
    until = time.monotonic() + _IDLE
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join(max(until - time.monotonic(), 0.0))
            if thread.is_alive():
                _leave()


def _leave() -> None:
    _log.warning("an operator of the model does not return: ending the process without it")
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
