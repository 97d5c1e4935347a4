"""The inference queue of an entry node, in the order in which the runtime computes what waits."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from edge_planning.routing.batches import Experience, Precedence, Waiting, next_batch, wait_before

OnDone = Callable[[float], None]


@dataclass(slots=True, eq=False)
class Inference:
    """An inference that waits or runs. seconds: its compute time. ends: times at which its operators end,
    after its start. on_done: called with the time at which it has ended; not called if it is stopped.
    """

    seconds: float
    waiting: Waiting
    ends: tuple[float, ...]
    on_done: OnDone


@dataclass(frozen=True, slots=True)
class Started:
    """The current run. until: when the node is free again, earlier than its full time if it was stopped."""

    inference: Inference
    since: float
    until: float
    stopped: bool = False


class NodeQueue:
    """One inference at a time, in the order of `next_batch`; without batches."""

    def __init__(self) -> None:
        self.waiting: list[Inference] = []
        self.running: Started | None = None
        self._skipped = 0

    def add(
        self,
        now: float,
        seconds: float,
        due: float,
        on_done: OnDone,
        ends: tuple[float, ...],
        *,
        beyond: bool,
    ) -> Inference:
        """Adds an inference that is due at a time. beyond: whether its request exceeds the planned rate."""
        known = Experience(seconds, proven=False)
        found = Inference(seconds, Waiting(None, known, 1, due, now, Precedence(beyond)), ends, on_done)
        self.waiting.append(found)
        return found

    def wait_before(self, now: float, due: float, seconds: float, *, beyond: bool) -> float:
        """Returns the seconds until an inference that is added now would start, as the runtime estimates."""
        begun = max(self.running.until - now, 0.0) if self.running is not None else 0.0
        waiting = [one.waiting for one in self.waiting]
        return begun + wait_before(
            waiting,
            due,
            seconds,
            now + begun,
            largest=1,
            skipped=self._skipped,
            precedence=Precedence(beyond),
        )

    def start(self, now: float) -> Started | None:
        """Starts the next run and returns it, or None if the node is busy or nothing waits."""
        if self.running is not None or not self.waiting:
            return None
        batch = next_batch([one.waiting for one in self.waiting], now, largest=1, skipped=self._skipped)
        self._skipped = self._skipped + 1 if batch.passed else 0
        inference = self.waiting.pop(batch.chosen[0])
        self.running = Started(inference, now, now + inference.seconds)
        return self.running

    def finish(self, run: Started) -> bool:
        """Ends the current run. Returns whether it was that run; if not, it was stopped before."""
        if self.running is not run:
            return False
        self.running = None
        return True

    def stop(self, inference: Inference, now: float) -> Started | None:
        """Removes an inference whose result is not needed.

        Returns the current run if it is that inference: it ends at its next operator.
        """
        if inference in self.waiting:
            self.waiting.remove(inference)
            return None
        run = self.running
        if run is None or run.inference is not inference or run.stopped:
            return None
        elapsed = now - run.since
        end = run.since + min((end for end in inference.ends if end >= elapsed), default=inf)
        self.running = Started(inference, run.since, min(end, run.until), stopped=True)
        return self.running
