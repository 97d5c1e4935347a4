"""How long a hop may take, and when the answer in its place has to be begun. Pure: times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_runtime.assignment import DeadlineAction
from edge_runtime.inference.latency_stats import LatencyStats

_RESERVE: Final = 0.08  # of the deadline: for what lies between an answer and its arrival at the caller
_LEAST_RESERVE: Final = 0.001
_LEAST_SHARE: Final = 0.25  # of the deadline: less than this is no fair try for a hop
_FAIR: Final = 1.1  # of the planned latency, which is one for the 95th percentile already
_ALONE_FACTOR: Final = 2.0
_ALONE_LEAST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Times:
    """A request as its hop begins: all in seconds.

    elapsed: since the request came. predicted: what the plan says of the route, from end to end.
    """

    slo: float
    deadline: float
    elapsed: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a hop gets.

    seconds: how long it may take. fallback_in: after how many seconds the fallback starts; None: only
    once the hop has failed. fair: whether being late is the hop's fault. expected: how long it should
    take; more than that only while other requests' hops go well.
    """

    seconds: float
    fallback_in: float | None
    fair: bool
    expected: float


def usable(deadline: float) -> float:
    """What of a request's time may pass before its answer is there: the rest is its way to the caller."""
    return deadline - max(_RESERVE * deadline, _LEAST_RESERVE)


def head_due(deadline: float, behind: float) -> float:
    """After how much of a request's time its head should be done, so that what is `behind` it fits; where
    little fits, half of the time.
    """
    left = usable(deadline)
    return max(left - max(behind, 0.0), left / 2)


def allowance(action: str, times: Times, local: LatencyStats | None) -> Allowance:
    """The time for a hop beside a local computation (None without one).

    With an answer in its place that can be in time, the hop may take all that is left but a reserve, and the
    other is begun at the last moment at which it is still in time, or at once. When it can no longer be, the
    hop gets what its route is planned to take, since it is the better chance. Alone, twice the SLO.
    """
    expected = max(_FAIR * times.predicted - times.elapsed, 0.0)
    if local is None or action == DeadlineAction.WAIT:
        most = max(_ALONE_FACTOR * times.slo, _ALONE_LEAST)
        return Allowance(most, None, True, most)
    left = usable(times.deadline) - times.elapsed
    promised = min(times.predicted, times.slo * (1 - _RESERVE))
    fair = left + times.elapsed >= promised and left >= _LEAST_SHARE * times.deadline
    if action == DeadlineAction.FAIL:
        return Allowance(left, None, fair, left)
    if local.most <= left:
        return Allowance(left, left - local.most, fair, expected)
    if local.seconds <= left:
        return Allowance(left, 0.0, fair, expected)
    factor = _ALONE_FACTOR if times.predicted > times.slo else _FAIR
    planned = factor * times.predicted - times.elapsed
    return Allowance(max(left, planned, _LEAST_SHARE * times.deadline), None, planned > 0, expected)
