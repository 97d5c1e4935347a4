"""One service's share of the inference queue of its process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import Final

from edge_planning.routing.deadlines import queue_too_long
from edge_runtime.errors import Overloaded
from edge_runtime.inference.jobs import Said
from edge_runtime.inference.planned_rates import PlannedRate
from edge_runtime.inference.runners import Runner
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Array

QUEUE: Final = 256


class ServiceQueue:
    """The requests of one service. `waiting` counts those without a response yet, each service its own: a
    service that receives too many requests causes no refusals of others. `planned` is the service's rate.
    """

    def __init__(self, runner: Runner, said: Said | None = None, most: int = QUEUE) -> None:
        """said: called after each run on the thread with the wait of each of its requests in seconds."""
        self._runner, self._said, self._most = runner, said, most
        self.waiting = 0
        self.planned = PlannedRate()

    def admit(self, seconds: float, left: float = inf, wait: float = 0.0) -> None:
        """Counts a request.

        seconds: its inference at least. left: the time that it has. wait: seconds until its turn. Raises
        Overloaded if too many of the service wait, or if those ahead make it late.
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
        self.waiting += 1

    def leave(self) -> None:
        """Uncounts a request."""
        self.waiting -= 1

    def least(self, session: Session, inputs: Mapping[str, Array]) -> float:
        """Estimated seconds of a run on these inputs; see `Runner.least`."""
        return self._runner.least(session, inputs)

    def wait_before(self, deadline: float, seconds: float, *, beyond: bool = False) -> float:
        """Estimated seconds until an inference would start; see `Runner.wait_before`."""
        return self._runner.wait_before(deadline, seconds, beyond=beyond)

    @property
    def wait(self) -> float:
        """Estimated seconds until the thread has finished the requests of all services that wait now."""
        return self._runner.wait

    def run_now(
        self, session: Session, feeds: Mapping[str, Array], names: Sequence[str] | None = None
    ) -> list[Array] | None:
        """Returns the session's outputs, or None without a run; see `Runner.run_now`."""
        return self._runner.run_now(session, feeds, names)

    async def run(
        self,
        session: Session,
        feeds: Mapping[str, Array],
        names: Sequence[str] | None = None,
        deadline: float | None = None,
        *,
        beyond: bool = False,
    ) -> list[Array]:
        """Returns the session's outputs; see `Runner.run`."""
        return await self._runner.run(session, feeds, names, deadline, self._said, beyond=beyond)
