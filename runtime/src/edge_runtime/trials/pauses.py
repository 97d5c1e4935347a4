"""When a trial process is paused, so that requests get the processor. Pure: moments come in as arguments.

The lowest scheduling priority is not enough: where a cgroup's quota is less than the node's cores, the
process runs beside the requests on another core and uses up the quota that they need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONGEST: Final = 0.45
"""Seconds after which a paused process runs although requests are being computed."""
TURN: Final = 0.05
"""Seconds for which it then runs: a tenth of the time, so that a trial ends where requests never do."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The state of one process.

    since: when it was last paused or resumed, in seconds. due: whether it runs although requests are being
    computed. seconds: for how long it was paused in all the pauses that are over.
    """

    paused: bool = False
    since: float = 0.0
    due: bool = False
    seconds: float = 0.0

    def total(self, now: float) -> float:
        """Seconds for which it was paused until now."""
        return self.seconds + (now - self.since if self.paused else 0.0)


RUNNING: Final = Pause()


def after(pause: Pause, *, busy: bool, now: float, longest: float = LONGEST) -> Pause:
    """The state from now on, by whether requests are being computed. longest: seconds of a pause."""
    if pause.paused:
        due = now - pause.since >= longest
        return Pause(paused=False, since=now, due=due, seconds=pause.total(now)) if due or not busy else pause
    if busy and not (pause.due and now - pause.since < TURN):
        return Pause(paused=True, since=now, due=False, seconds=pause.seconds)
    return pause
