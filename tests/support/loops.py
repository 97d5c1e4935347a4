"""Runs a coroutine in a separate event loop for the duration of a block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import uvloop

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


@contextmanager
def in_thread(main: Main) -> Iterator[None]:
    """Runs a coroutine function in a separate loop, until the block ends and sets its event."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    failed: list[BaseException] = []

    async def body() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await main(stop)

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(body())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    loop, stop = started.result(10)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # it ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
    assert not thread.is_alive(), "it did not stop"
    assert not failed, failed
