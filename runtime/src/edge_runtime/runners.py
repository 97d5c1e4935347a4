"""Where a session runs: on the event loop when it is short, on a thread when others would wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Final

from edge_runtime.errors import QueueFull
from edge_runtime.sessions import Halt, Session
from edge_runtime.tensors import Array

# A hand-over to a thread and back takes 20 microseconds on an idle core: from here on it is less than a
# tenth of the run.
INLINE: Final = 0.0003
QUEUE: Final = 256
_SMOOTHING: Final = 0.05


class Runner:
    """Runs sessions of one service. `waiting` counts the requests that are not answered yet."""

    def __init__(self, workers: int = 1, queue: int = QUEUE) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._queue = queue
        self.waiting = 0

    def admit(self, seconds: float) -> None:
        """Counts one more request, of about this many seconds; QueueFull when there are too many."""
        if self.waiting >= self._queue:
            after = max(1, ceil(self.waiting * seconds))
            raise QueueFull(f"{self.waiting} requests wait already; ask again in {after} s", after)
        self.waiting += 1

    def leave(self) -> None:
        """One request fewer."""
        self.waiting -= 1

    async def run(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None = None,
        halt: Halt | None = None,
    ) -> list[Array]:
        """The session's outputs, from the event loop or from a thread by how long it lately took."""
        if session.seconds < INLINE:
            return _timed(session, feeds, names)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _timed, session, feeds, names, halt)

    def close(self) -> None:
        """Takes no more work."""
        self._executor.shutdown(wait=False)


def _timed(
    session: Session, feeds: Mapping[str, Array], names: Sequence[str] | None, halt: Halt | None = None
) -> list[Array]:
    start = time.perf_counter()
    results = session.run(feeds, names, halt)
    session.seconds += _SMOOTHING * (time.perf_counter() - start - session.seconds)
    return results
