"""How much slower stages currently run than alone: other pods use the node's processors, too.

Pure: times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from edge_runtime.inference.sessions import Session

# Weight of a run of the longest session; that of a shorter one is less in proportion, as it says less.
_SMOOTHING: Final = 0.2
# Runs count by the time that they stand for, too: after this many seconds, also short runs prevail.
_MEMORY: Final = 2.0
# Expected times follow the slowdown in steps of this size.
_STEP: Final = 1.1


@dataclass(slots=True)
class _Followed:
    """Seconds of a run alone at the node, and whether the session ran since the last step."""

    alone: float
    ran: bool = False


class Slowdown:
    """The smoothed ratio of the times of runs to those of the same sessions at their warm-up.

    The profile of a device class leaves out how this node differs from it; the warm-up does not.

    factor: the ratio; 1 before any run.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._step, self._at, self._longest = 1.0, -inf, 0.0
        self._followed: WeakKeyDictionary[Session, _Followed] = WeakKeyDictionary()
        self._lock = Lock()

    def follow(self, session: Session) -> None:
        """Counts the runs of a session that was warmed up."""
        if session.warm_seconds <= 0:
            return
        with self._lock:
            if session not in self._followed:
                # Other pods slowed its warm-up down as well.
                self._followed[session] = _Followed(session.warm_seconds / max(self.factor, 1.0))
            self._longest = max(each.alone for each in self._followed.values())

    def follows(self, session: Session) -> bool:
        """Whether runs of the session count."""
        return session in self._followed

    def add(self, session: Session, seconds: float, now: float) -> None:
        """Adds a run of one item that ended at `now`."""
        found = self._followed.get(session)
        if found is None:
            return
        length = min(found.alone / self._longest, 1.0)
        weight = max(_SMOOTHING * length, min(max(now - self._at, 0.0) / _MEMORY, _SMOOTHING))
        self.factor += weight * (seconds / found.alone - self.factor)
        self._at, found.ran = now, True

    def changes(self) -> Iterator[tuple[Session, float]]:
        """Yields the sessions that did not run in the last step of the slowdown, and their expected seconds
        now.

        None until the slowdown has changed by a tenth since the last call that yielded any.
        """
        if self._step / _STEP < self.factor < self._step * _STEP:
            return
        with self._lock:
            self._step = self.factor
            known = list(self._followed.items())
        for session, found in known:
            if not found.ran:
                yield session, found.alone * self.factor
            found.ran = False
