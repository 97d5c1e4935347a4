"""A fallback computation that starts at the last moment and is discarded if the hop responds in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edge_runtime.tensors import Array

Work = Callable[[], Coroutine[Any, Any, list[Array]]]


class DeferredFallback:
    """A computation that is possibly not needed. `work` creates it; it can be cancelled."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[list[Array]] | None = None

    @property
    def started(self) -> bool:
        """Whether it has started."""
        return self._task is not None

    def start_in(self, seconds: float) -> None:
        """Starts it after `seconds`, unless it has started or was cancelled before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    async def result(self) -> list[Array]:
        """Its outputs; starts it now if it has not started yet."""
        return await self._start()

    def cancel(self) -> None:
        """Cancels it: a waiting one is dropped, a running one stops at the next operator."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> asyncio.Task[list[Array]]:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None:
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(_consume_error)
        return self._task


def _consume_error(task: asyncio.Task[list[Array]]) -> None:
    """Marks the error of a discarded computation as seen, so asyncio does not log it."""
    if not task.cancelled():
        task.exception()
