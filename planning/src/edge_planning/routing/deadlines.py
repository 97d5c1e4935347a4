"""The time limit of a hop, and the latest start of its fallback. Pure: times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

# Share of the deadline that is reserved for returning the response to the client, at least 1 ms.
_RESERVE: Final = 0.08
_LEAST_RESERVE: Final = 0.001
# Seconds that suffice to return a response that cannot be ready earlier.
_ENOUGH: Final = 0.015
_LEAST_SHARE: Final = 0.25  # of the deadline: with less, being late is not the hop's fault
_FAIR: Final = 1.1  # times the predicted latency, which is the 95th percentile
_LIKELY: Final = 0.5  # below this probability, a hop is expected to be late
COMPUTE_MARGIN: Final = 1.3  # least factor from the mean of a compute time to its upper bound
_ALONE_FACTOR: Final = 2.0
_ALONE_LEAST: Final = 1.0


class ComputeTime(Protocol):
    """Recent compute time at this node in seconds: the mean and an upper bound."""

    @property
    def seconds(self) -> float: ...

    @property
    def most(self) -> float: ...


class DeadlineAction(StrEnum):
    """What to send if a hop is late, as in `spec.deadline.action`."""

    LOCAL_EXIT = "LocalExit"
    WAIT = "Wait"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class Times:
    """A request when its hop starts; times in seconds.

    Attributes:
        slo: The SLO's latency.
        deadline: The time that the request has.
        elapsed: Time since the request arrived.
        predicted: Latency of the route that the plan predicts, from end to end.
        chance: Probability that the hop's response is in time.
    """

    slo: float
    deadline: float
    elapsed: float
    predicted: float
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of a hop; times in seconds.

    Attributes:
        seconds: Maximum time of the hop.
        fallback_in: Time after which the fallback starts; None: only when the hop has failed.
        fair: Whether being late counts as a failure of the hop.
        expected: Expected time of the hop. It may take longer only while the hops of other requests succeed.
        only: Whether no fallback can be in time, so the hop is tried even if it will probably be late.
    """

    seconds: float
    fallback_in: float | None
    fair: bool
    expected: float
    only: bool = False


def usable(deadline: float) -> float:
    """Returns the part of a deadline before which the response must be ready: without the reserve."""
    return deadline - max(_RESERVE * deadline, _LEAST_RESERVE)


def latest(deadline: float) -> float:
    """Returns the time in seconds until which a response that is computed at once may be ready.

    What can start later is planned to be ready at `usable`, so that a busy node still keeps the deadline.
    """
    return max(usable(deadline), deadline - _ENOUGH)


def head_due(deadline: float, behind: float) -> float:
    """Returns the time in seconds at which the head is due, so that the `behind` seconds after it still fit.

    If they leave less than half of the usable time, the head gets half.
    """
    left = usable(deadline)
    return max(left - max(behind, 0.0), left / 2)


def allowance(action: DeadlineAction, times: Times, local: ComputeTime | None) -> Allowance:
    """Returns the limits of a hop with a local fallback (None: without one).

    If the fallback can be in time, the hop gets the remaining time without the reserve, and the fallback
    starts so that it ends at the same time, or immediately. If it cannot, the hop gets its route's predicted
    latency, and if the hop will probably be late, the fallback starts immediately, so that the response is
    not later than without the hop. Without a fallback, the hop gets twice the SLO's latency.
    """
    expected = max(_FAIR * times.predicted - times.elapsed, 0.0)
    if local is None or action is DeadlineAction.WAIT:
        most = max(_ALONE_FACTOR * times.slo, _ALONE_LEAST)
        return Allowance(most, None, fair=True, expected=most)
    left = usable(times.deadline) - times.elapsed
    promised = min(times.predicted, times.slo * (1 - _RESERVE))
    likely = times.chance >= _LIKELY
    fair = likely and left + times.elapsed >= promised and left >= _LEAST_SHARE * times.deadline
    if action is DeadlineAction.FAIL:
        return Allowance(left, None, fair, left)
    if local.most <= left:
        return Allowance(left, left - local.most, fair, expected)
    room = latest(times.deadline) - times.elapsed
    if local.seconds <= room:
        return Allowance(room, 0.0, fair, expected)
    factor = _ALONE_FACTOR if times.predicted > times.slo else _FAIR
    planned = factor * times.predicted - times.elapsed
    most = max(left, planned, _LEAST_SHARE * times.deadline)
    return Allowance(most, None if likely else 0.0, likely and planned > 0, expected, only=True)


def queue_too_long(wait: float, fastest: float, deadline: float) -> bool:
    """Returns whether the requests ahead make every response late; all in seconds.

    A request whose fastest route is late even at an idle node is not refused for that, but once the wait
    alone takes its deadline. Where no request waits, none is refused.
    """
    return wait > max(0.0, deadline - fastest if fastest < deadline else deadline)


def too_busy(within: float, wait: float | None, beyond: float, *, only: bool, idle: bool) -> bool:
    """Returns whether a request is not sent, because its response would not arrive `within` the hop's time.

    wait: seconds until it would have arrived; None if unknown. beyond: seconds of computing after that.
    only: no fallback can be in time, so a link that seems too slow is tried if it is `idle`.
    """
    late = wait is not None and wait + beyond > within
    return within <= 0 or (late and not (only and idle))
