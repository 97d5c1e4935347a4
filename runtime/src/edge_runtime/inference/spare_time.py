"""The part of a processor's time that requests beyond the planned rates get: what others at the node leave.

Runs that had to wait for a processor show that pods of others use it. The part then shrinks at once, and
grows again slowly, as a sender's window does in a network (additive increase, multiplicative decrease; Chiu
and Jain, 1989). Pure: times are arguments, in seconds of one clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import exp, inf
from threading import Lock
from typing import Final

# Runs are forgotten by this time constant, in seconds.
_MEMORY: Final = 0.5
# A processor is taken for contended if runs had it for less than this part of their time.
_IDLE: Final = 0.75
_DECREASE: Final = 0.5
_BETWEEN: Final = 0.25
"""Seconds between two decreases: what the first one changes is seen only then."""
_INCREASE: Final = 0.1
"""Of a processor's time, per second."""
_HELD: Final = 0.5
"""Seconds without contention before the part grows."""
_LEAST: Final = 0.02
"""Of a processor's time. With none, nothing would show that the node is idle again."""
_RECENT: Final = 2.0
"""Seconds after its last request beyond its rate in which a service gets a part."""


class SpareTime:
    """Divides the spare time between the services of a process, by their planned rates.

    Requests that wait for the processor run in the order of their places, which are the start times of
    start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with the rates as weights.
    """

    def __init__(self) -> None:
        self._part, self._grown, self._decreased = 1.0, 0.0, -inf
        self._had = self._took = 0.0
        self._observed = -inf
        self._place, self._places = 1.0, dict[Hashable, float]()
        self._free: dict[Hashable, float] = {}
        self._seen: dict[Hashable, tuple[float, float]] = {}  # when last, and the weight
        self._lock = Lock()

    def part(self, now: float) -> float:
        """Of a processor's time, for all services together: from 0.02 to 1."""
        with self._lock:
            return self._grow(now)

    def ran(self, had: float, took: float, now: float) -> None:
        """Adds a run that took `took` seconds until `now`, and for `had` of them had a processor."""
        with self._lock:
            kept = exp(-max(now - self._observed, 0.0) / _MEMORY)
            self._observed = now
            self._had, self._took = self._had * kept + min(had, took), self._took * kept + took
            self._grow(now)
            if self._had < _IDLE * self._took:
                self._grown = now + _HELD
                if now - self._decreased >= _BETWEEN:
                    self._part, self._decreased = max(self._part * _DECREASE, _LEAST), now

    def place(self, service: Hashable) -> float:
        """The place of the next request of a service, at least 1: the smallest runs first."""
        return max(self._places.get(service, 0.0), self._place)

    def placed(self, service: Hashable, weight: float, place: float) -> None:
        """Takes a place. weight: the service's rate."""
        self._places = {key: each for key, each in self._places.items() if each > self._place}
        self._places[service] = place + 1.0 / weight

    def started(self, place: float) -> None:
        """Notes that an inference with this place starts; 0: one within its rate."""
        self._place = max(self._place, place)

    def wait(self, service: Hashable, now: float) -> float:
        """Seconds until the next inference of a service beyond its rate can start."""
        return max(self._free.get(service, -inf) - now, 0.0)

    def take(self, service: Hashable, weight: float, seconds: float, now: float) -> float:
        """Takes the time of an inference of `seconds`. weight: the service's rate. Returns its wait."""
        with self._lock:
            part = self._grow(now)
            self._seen[service] = now, weight
            self._seen = {key: seen for key, seen in self._seen.items() if now - seen[0] <= _RECENT}
            self._free = {key: free for key, free in self._free.items() if free > now}
            start = max(self._free.get(service, now), now)
            if part < 1.0:
                part *= weight / sum(each for _, each in self._seen.values())
                self._free[service] = start + seconds / part
            return start - now

    def _grow(self, now: float) -> float:
        if now > self._grown:
            self._part = min(self._part + _INCREASE * (now - self._grown), 1.0)
            self._grown = now
        return self._part
