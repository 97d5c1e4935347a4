"""A computation that several callers wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edge_runtime.answers import Answer


class Flight:
    """Begins at once, and ends early only when all who wait for it have left."""

    def __init__(self, work: Coroutine[Any, Any, Answer]) -> None:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(_look)
        self._waiting = 0

    def when_over(self, call: Callable[[], object]) -> None:
        """Calls something when it has ended, in whatever way."""
        self._task.add_done_callback(lambda _: call())

    async def wait(self, seconds: float | None = None) -> None:
        """Returns when it has ended, or after so many seconds."""
        self._waiting += 1
        try:
            await asyncio.wait({self._task}, timeout=seconds)
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._task.cancel()

    async def result(self) -> Answer:
        """Its answer, or the error that it ended with."""
        await self.wait()
        return self._task.result()


def _look(task: asyncio.Task[Answer]) -> None:
    """An error that nobody waited for is nobody's concern."""
    if not task.cancelled():
        task.exception()
