"""SLO attainment over windows of time, from the monotonic counters that runtimes report. Pure.

A service's history is a list of points: how many requests had arrived by then, and how many of them met the
SLO. A window is the difference of the history at its two ends, interpolated between points. Points become
fewer as they age, so a history has at most 70 of them, about 2 KB in the service's status, and outlives a
restart of the operator. Clocks of other machines play no part: a point has the time at which the operator saw
the counters.
"""

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from edge_api import Placement

Span = Literal["5m", "1h", "6h", "28d"]
SPANS: Final[dict[Span, float]] = {"5m": 300.0, "1h": 3600.0, "6h": 21600.0, "28d": 28 * 86400.0}
"""The windows and their lengths in seconds."""
_RESOLUTIONS: Final[dict[Span, int]] = {"5m": 30, "1h": 300, "6h": 1800, "28d": 86400}
"""Of points that are not older than the window, one is kept for each cell of so many seconds.

Each divides the next."""


class Counters(NamedTuple):
    """Numbers of requests, and of those that met the SLO."""

    requests: int
    met: int

    def plus(self, more: "Counters") -> "Counters":
        """Returns the sums."""
        return Counters(self.requests + more.requests, self.met + more.met)


NOTHING: Final = Counters(0, 0)


class Point(NamedTuple):
    """What was counted by second `at` of Unix time."""

    at: int
    counted: Counters

    @property
    def missed(self) -> int:
        """The requests that did not meet the SLO."""
        return self.counted.requests - self.counted.met


@dataclass(frozen=True, slots=True)
class Window:
    """Requests in a window. covered: seconds of it of which the history knows."""

    span: Span
    counted: Counters
    covered: float


History = tuple[Point, ...]
"""Points by rising time, with counters that never fall."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted since the last status was written.

    known: the counters of each Placement by uid, as of that status. before: increases that are not in
    them. unchanged_until: the last second at which nothing was new.
    """

    known: Mapping[str, Counters]
    before: Counters = NOTHING
    unchanged_until: float = 0.0


def counters(placements: Mapping[str, Placement]) -> dict[str, Counters]:
    """Returns the counters of Placements by their uid. Those of earlier runtimes, which have none, are 0."""
    found = {}
    for placement in placements.values():
        status = placement.status
        counted = status is not None and status.since is not None
        uid = placement.metadata.uid or placement.metadata.name
        found[uid] = Counters(status.requests, status.met) if status and counted else NOTHING
    return found


def total(found: Mapping[str, Counters]) -> Counters:
    """Returns the sums of the counters of Placements."""
    return Counters(sum(c.requests for c in found.values()), sum(c.met for c in found.values()))


def begun(found: Mapping[str, Counters], stored: Counters | None) -> Tally:
    """Returns the tally of an operator that has just started.

    stored: the sums as of the last status. Where the sums are less, counters of a Placement are gone, and
    what the others counted in the meantime is not known.
    """
    now, then = total(found), stored or NOTHING
    more = Counters(now.requests - then.requests, now.met - then.met)
    return Tally(dict(found), before=more if 0 <= more.met <= more.requests else NOTHING)


def looked(tally: Tally, found: Mapping[str, Counters], at: float) -> Tally:
    """Returns the tally after a look at second `at`. A Placement that was not known before adds nothing."""
    tally = replace(tally, known={**found, **tally.known})
    return replace(tally, unchanged_until=at) if increase(tally, found) == NOTHING else tally


def increase(tally: Tally, found: Mapping[str, Counters]) -> Counters:
    """Returns what was counted since the last written status.

    Counters that fell, which the reports of two overlapping pods can do, add nothing until they are higher
    than they were.
    """
    more = tally.before
    for uid, now in found.items():
        known = tally.known.get(uid, now)
        requests = max(now.requests - known.requests, 0)
        more = more.plus(Counters(requests, min(max(now.met - known.met, 0), requests)))
    return more


def settled(tally: Tally, found: Mapping[str, Counters], at: float) -> Tally:
    """Returns the tally after a status with all increases was written."""
    known = {uid: now if uid not in tally.known else max(now, tally.known[uid]) for uid, now in found.items()}
    return Tally(known, unchanged_until=at)


def extended(history: History, more: Counters, at: float, unchanged_until: float) -> History:
    """Returns the history with `more` counted by second `at`, and without points that are not needed.

    unchanged_until: until then nothing had been counted since the last point, as far as is known. A point in
    the future, of an operator whose clock was ahead, becomes one of now.
    """
    now = int(at)
    points = [Point(min(point.at, now), point.counted) for point in history]
    last = points[-1].counted if points else NOTHING
    quiet = min(max(int(unchanged_until), points[-1].at if points else 0), now - 1)
    if not points or quiet > points[-1].at:
        points.append(Point(quiet, last))
    points.append(Point(now, last.plus(more)))
    return _thinned(points, now)


def windows(history: History, at: float) -> tuple[Window, ...]:
    """Returns the windows that end at second `at`."""
    if not history:
        return ()
    end = history[-1].counted
    found = []
    for span, seconds in SPANS.items():
        start = _counted_by(history, at - seconds)
        counted = Counters(end.requests - start.requests, end.met - start.met)
        found.append(Window(span, counted, min(max(at - history[0].at, 0.0), seconds)))
    return tuple(found)


def greatest_age(span: Span, interval: float) -> float | None:
    """Returns the age in seconds that requests in a window can have; None if it is that of the window.

    interval: seconds between two reports of a runtime. A report adds what was counted since the one before,
    which counts as older only if that is more than the points of the window can tell apart.
    """
    return SPANS[span] + interval if interval > _RESOLUTIONS[span] else None


def encoded(history: History) -> str:
    """Returns the history as text: `at,requests,met` of each point, separated by semicolons."""
    return ";".join(f"{point.at},{point.counted.requests},{point.counted.met}" for point in history)


def decoded(text: str | None) -> History:
    """Reads a history; returns none if the text is not one, so that counting begins again."""
    try:
        rows = [tuple(map(int, row.split(","))) for row in text.split(";")] if text else []
        points = tuple(Point(at, Counters(requests, met)) for at, requests, met in rows)
    except ValueError:
        return ()
    return points if all(_follows(*pair) for pair in itertools.pairwise(points)) else ()


def _follows(before: Point, after: Point) -> bool:
    more = (after.counted.requests - before.counted.requests, after.counted.met - before.counted.met)
    return before.at <= after.at and 0 <= more[1] <= more[0]


def _counted_by(history: History, at: float) -> Counters:
    index = bisect_right(history, at, key=lambda point: point.at)
    if index == 0:
        return history[0].counted
    if index == len(history):
        return history[-1].counted
    before, after = history[index - 1], history[index]
    part = (at - before.at) / (after.at - before.at)
    met = int(part * (after.counted.met - before.counted.met))
    missed = int(part * (after.missed - before.missed))
    return before.counted.plus(Counters(met + missed, met))


def _thinned(points: Sequence[Point], now: int) -> History:
    """Returns the point at which the history begins, and the last one of each cell.

    It begins with the last point beyond all windows, or with the first of all.
    """
    begin = max(bisect_right(points, now - SPANS["28d"], key=lambda point: point.at) - 1, 0)
    kept: dict[tuple[int, int], Point] = {}
    for point in points[begin + 1 :]:
        size = next(size for span, size in _RESOLUTIONS.items() if now - point.at <= SPANS[span])
        kept[size, point.at // size] = point
    return (points[begin], *kept.values())
