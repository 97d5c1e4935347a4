"""The answer in place of a hop's: begun when it must be, thrown away when the hop's is in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edge_runtime.tensors import Array

Work = Callable[[], Coroutine[Any, Any, Array]]


class Insurance:
    """One computation that may never be needed; `work` makes it, and may be cancelled."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Array] | None = None

    @property
    def begun(self) -> bool:
        """Whether any work was done for it."""
        return self._task is not None

    def begin_in(self, seconds: float) -> None:
        """Begins after so many seconds, unless it was needed or cancelled before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    async def result(self) -> Array:
        """The answer; begins now if nothing was begun yet."""
        return await self._begin()

    def cancel(self) -> None:
        """It is not needed (any more): what waits is dropped, what runs ends at the next operator."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> asyncio.Task[Array]:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None:
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(_look)
        return self._task


def _look(task: asyncio.Task[Array]) -> None:
    """An error of work that nobody needed is nobody's concern."""
    if not task.cancelled():
        task.exception()
