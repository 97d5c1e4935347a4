"""How much slower stages currently run than alone: other pods use the node's processors, too.

Pure: times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakSet

# Weight of a run of the longest session; that of a shorter one is less in proportion, as it says less.
_SMOOTHING: Final = 0.2
# Runs count by the time that they stand for, too: after this many seconds, also short runs prevail.
_MEMORY: Final = 2.0
# A run counts as at most this many times as slow as usual: a single one is often preempted.
_STALLED: Final = 2.0
# Expected times follow the slowdown in steps of this size.
_STEP: Final = 1.1


@dataclass(slots=True)
class Followed:
    """Seconds of a run alone at the node, and whether the session ran since the last step."""

    alone: float
    ran: bool = False


class Timed(Protocol):
    """A session: the seconds of its warm-up, 0 without one, and what is known of its runs."""

    warm_seconds: float
    followed: Followed | None


AnyTimed = TypeVar("AnyTimed", bound=Timed)


class Slowdown(Generic[AnyTimed]):
    """The smoothed ratio of the times of runs to those of the same sessions at their warm-up.

    The profile of a device class leaves out how this node differs from it; the warm-up does not.

    factor: the ratio; 1 before any run.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._step, self._at, self._longest = 1.0, -inf, 0.0
        self._followed: WeakSet[AnyTimed] = WeakSet()
        self._lock = Lock()

    def follow(self, session: AnyTimed) -> None:
        """Counts the runs of a session that was warmed up."""
        if session.warm_seconds <= 0:
            return
        with self._lock:
            if session.followed is None:
                # Other pods slowed its warm-up down as well.
                session.followed = Followed(session.warm_seconds / max(self.factor, 1.0))
            self._followed.add(session)
            self._longest = max(each.followed.alone for each in self._followed if each.followed is not None)

    def add(self, session: AnyTimed, seconds: float, now: float) -> None:
        """Adds a run on inputs like those of the warm-up that ended at `now`."""
        found = session.followed
        if found is None:
            return
        length = min(found.alone / self._longest, 1.0)
        weight = max(_SMOOTHING * length, min(max(now - self._at, 0.0) / _MEMORY, _SMOOTHING))
        ratio = min(seconds / found.alone, _STALLED * self.factor)
        self.factor += weight * (ratio - self.factor)
        self._at, found.ran = now, True

    @property
    def stepped(self) -> bool:
        """Whether the slowdown has changed by a tenth since the last call of `changes`."""
        return not self._step / _STEP < self.factor < self._step * _STEP

    def changes(self) -> Iterator[tuple[AnyTimed, float]]:
        """Begins a step. Yields the sessions that did not run in the last one, and their seconds now."""
        with self._lock:
            self._step, known = self.factor, list(self._followed)
        for session in known:
            if (found := session.followed) is None:
                continue
            if not found.ran:
                yield session, found.alone * self.factor
            found.ran = False
