"""Threads for requests that fetch files from addresses.

An address can hang for as long as its server likes. Such requests therefore have threads apart from those
that read slices and files. Each namespace has a few of them: its addresses hold up its own requests alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

AT_ONCE: Final = 4
"""Requests of a namespace that fetch at once; the next ones wait."""
THREADS: Final = 64

P = ParamSpec("P")
Result = TypeVar("Result")


class Fetches:
    """Runs blocking calls that can fetch from addresses. On the event loop only."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fetching")
        self._places: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def run(
        self, namespace: str | None, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """Returns what a call returns. namespace: of the caller; None: of a store without tokens."""
        if namespace is None:
            return await self._run(call, *args, **kwargs)
        async with self._places[namespace]:
            return await self._run(call, *args, **kwargs)

    async def _run(self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Begins no further call."""
        self._threads.shutdown(wait=False, cancel_futures=True)
