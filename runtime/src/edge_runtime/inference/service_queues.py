"""One service's share of the inference queue of its process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil, inf

from edge_planning.routing.batches import DEFAULT_PRIORITY, Precedence
from edge_planning.routing.deadlines import queue_too_long
from edge_runtime.errors import Overloaded
from edge_runtime.inference.jobs import Ran, Said
from edge_runtime.inference.planned_rates import PlannedRate
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Session
from edge_runtime.requests import MOST_WAITING
from edge_runtime.tensors import Array


class ServiceQueue:
    """The requests of one service. `waiting` counts those without a response yet, each service its own: a
    service that receives too many requests causes no refusals of others. `planned` is the service's rate.
    """

    def __init__(
        self,
        runner: Runner,
        said: Said | None = None,
        most: int = MOST_WAITING,
        ran: Ran | None = None,
    ) -> None:
        """said: called after each run on the thread with the wait of each of its requests in seconds. ran:
        called after each successful run, here or on the thread.
        """
        self._runner, self._said, self._most, self._ran = runner, said, most, ran
        self.waiting = 0
        self.planned = PlannedRate()

    def admit(self, seconds: float, left: float = inf, wait: float = 0.0, *, beyond: float = 0.0) -> None:
        """Counts a request.

        seconds: its inference at least. left: the time that it has. wait: seconds until its turn. beyond:
        0 within the planned rate, else its `next_place`. Raises Overloaded if too many of the service wait,
        if those ahead make it late, or if it exceeds the rate and others leave it no time.
        """
        if self.waiting >= self._most:
            after = max(1, ceil(self.waiting * seconds))
            raise Overloaded(f"{self.waiting} requests are waiting: retry in {after} s", after)
        if queue_too_long(wait, seconds, left):
            after = max(1, ceil(wait - left + seconds))
            raise Overloaded(
                f"requests ahead take {1e3 * wait:.0f} ms, and this one {1e3 * seconds:.0f} ms at least, but "
                f"it has {1e3 * left:.0f} ms: retry in {after} s",
                after,
            )
        if beyond and queue_too_long(spare := self.spare_wait(), seconds, left):
            after = max(1, ceil(spare - left + seconds))
            raise Overloaded(
                f"beyond the {self.planned.rate:g} requests/s that are planned for, and others use the node: "
                f"retry in {after} s",
                after,
            )
        self.waiting += 1
        if beyond:
            self._runner.take_place(self, self.planned.rate or 1.0, beyond)

    def leave(self) -> None:
        """Uncounts a request."""
        self.waiting -= 1

    def least(self, session: Session, inputs: Mapping[str, Array]) -> float:
        """Estimated seconds of a run on these inputs; see `Runner.least`."""
        return self._runner.least(session, inputs)

    def wait_before(
        self, deadline: float, seconds: float, *, beyond: float = 0.0, priority: int = DEFAULT_PRIORITY
    ) -> float:
        """Estimated seconds until an inference would start; see `Runner.wait_before`."""
        return self._runner.wait_before(deadline, seconds, Precedence(beyond, self, priority))

    @property
    def spare(self) -> float:
        """The part of a processor's time that requests beyond the planned rates get; see `SpareTime`."""
        return self._runner.spare

    def next_place(self) -> float:
        """The place of the next request beyond the planned rate; see `Runner.next_place`."""
        return self._runner.next_place(self)

    def spare_wait(self) -> float:
        """Seconds until the next request beyond the planned rate can start; see `SpareTime`."""
        return self._runner.spare_wait(self)

    async def spare_turn(self, seconds: float) -> None:
        """Returns once an inference of `seconds` beyond the planned rate can start."""
        wait = self._runner.take_spare(self, self.planned.rate or 1.0, seconds)
        if wait > 0:
            await asyncio.sleep(wait)

    @property
    def wait(self) -> float:
        """Estimated seconds until the thread has finished the requests of all services that wait now."""
        return self._runner.wait

    def run_now(
        self, session: Session, feeds: Mapping[str, Array], names: Sequence[str] | None = None
    ) -> list[Array] | None:
        """Returns the session's outputs, or None without a run; see `Runner.run_now`."""
        return self._runner.run_now(session, feeds, names, self._ran)

    async def run(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None = None,
        deadline: float | None = None,
        *,
        beyond: float = 0.0,
        priority: int = DEFAULT_PRIORITY,
        ran: Ran | None = None,
    ) -> list[Array]:
        """Returns the session's outputs; see `Runner.run`. ran: in place of the queue's own."""
        return await self._runner.run(
            session,
            feeds,
            names,
            deadline,
            self._said,
            precedence=Precedence(beyond, self, priority),
            ran=ran or self._ran,
        )
