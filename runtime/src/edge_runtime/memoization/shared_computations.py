"""One computation that several requests wait for (single flight)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from edge_runtime.responses import InferenceResponse


class SharedComputation:
    """Starts immediately; it is cancelled once no request waits for it any more."""

    def __init__(self, work: Coroutine[Any, Any, InferenceResponse]) -> None:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(_consume_error)
        self._waiting = 0

    def when_over(self, call: Callable[[], object]) -> None:
        """Calls `call` when the computation has ended in any way."""
        self._task.add_done_callback(lambda _: call())

    async def wait(self, seconds: float | None = None) -> None:
        """Returns when it has ended, or after `seconds`."""
        self._waiting += 1
        try:
            await asyncio.wait({self._task}, timeout=seconds)
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._task.cancel()

    async def result(self) -> InferenceResponse:
        """Its response, or the error that it ended with."""
        await self.wait()
        return self._task.result()


def _consume_error(task: asyncio.Task[InferenceResponse]) -> None:
    """Marks the error of an abandoned computation as seen, so asyncio does not log it."""
    if not task.cancelled():
        task.exception()
