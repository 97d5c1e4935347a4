"""The places of a target: so many of its actions run at once, and urgent ones do not wait behind others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable


class Places:
    """Places that actions take in the order of their arrival, urgent ones first. On the event loop only."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._urgent: dict[Hashable, asyncio.Future[None]] = {}
        self._others: dict[Hashable, asyncio.Future[None]] = {}

    @contextlib.asynccontextmanager
    async def taken(self, key: Hashable, *, urgent: bool) -> AsyncIterator[None]:
        """Holds a place. key: different for each action that waits."""
        await self._take(key, urgent=urgent)
        try:
            yield
        finally:
            self._give_back()

    def hurry(self, key: Hashable) -> None:
        """Lets an action that waits overtake those that are not urgent."""
        waiting = self._others.pop(key, None)
        if waiting is not None:
            self._urgent[key] = waiting

    async def _take(self, key: Hashable, *, urgent: bool) -> None:
        if self._free:
            self._free -= 1
            return
        given = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others)[key] = given
        try:
            await given
        except asyncio.CancelledError:
            self._urgent.pop(key, None)
            self._others.pop(key, None)
            if given.done() and not given.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        for waiting in (self._urgent, self._others):
            while waiting:
                given = waiting.pop(next(iter(waiting)))
                if not given.done():  # cancelled, and its task has not run since
                    given.set_result(None)
                    return
        self._free += 1
