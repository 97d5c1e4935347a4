"""The last hour of a service, from the points in its status. Pure."""

from itertools import pairwise

from edge_console.fields import Json
from edge_operator.pool.slo import Point, decoded

HOUR = 3600
CELLS = 12
"""Parts of the last hour in the table of services."""


def last_hour(text: str | None) -> list[Json]:
    """Returns how many requests came between two points of the history, and how many of them met the SLO.

    The hour ends at the newest point. Points are 5 minutes apart, those of the last 5 minutes 30 s.
    """
    points = decoded(text)
    if not points:
        return []
    begin = points[-1].at - HOUR
    return [
        {
            "from": max(before.at, begin),
            "to": after.at,
            "requests": after.counted.requests - before.counted.requests,
            "met": after.counted.met - before.counted.met,
        }
        for before, after in pairwise(points)
        if after.at > begin
    ]


def attainments(text: str | None) -> list[float | None]:
    """Returns the share of requests that met the SLO in each twelfth of the last hour, oldest first.

    None: there were no requests.
    """
    points = decoded(text)
    if not points:
        return []
    end, step = points[-1].at, HOUR / CELLS
    edges = [_counted(points, end - HOUR + index * step) for index in range(CELLS + 1)]
    return [
        None if after[0] - before[0] < 1 else round((after[1] - before[1]) / (after[0] - before[0]), 4)
        for before, after in pairwise(edges)
    ]


def _counted(points: tuple[Point, ...], at: float) -> tuple[float, float]:
    """Returns the requests by a time, and those that met the SLO, on a line between the points beside it."""
    before = next((point for point in reversed(points) if point.at <= at), points[0])
    after = next((point for point in points if point.at >= at), points[-1])
    part = 0.0 if after.at <= before.at else (at - before.at) / (after.at - before.at)
    low, high = before.counted, after.counted
    return low.requests + part * (high.requests - low.requests), low.met + part * (high.met - low.met)
