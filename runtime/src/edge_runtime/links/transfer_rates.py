"""The link rate measured by one transfer, without delays that were not caused by the link. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from edge_planning.links.estimates import RateSample
from edge_runtime.links.sockets import TcpInfo

JITTER: Final = 0.006  # error of a time measured by a throttled process: a CPU quota's period and a margin
POLL: Final = 0.01  # most seconds between two readings of what has arrived
LEAST_COMPUTE, MOST_COMPUTE = 0.7, 1.3  # range of a computation's time, as factors of its mean
SEGMENTS: Final = 3000  # bytes that may have arrived without their acknowledgement
_TIGHT: Final = 1.6  # maximum ratio of a sample's bounds for a measurement
_MOSTLY: Final = 0.9  # minimum share of the link in the expected time of a plain sample
_LATE_ROUND_TRIPS: Final = 2  # by which acknowledgments may be later than in the shortest round trip
_TICK: Final = 0.01  # the coarsest clock by which kernels count busy and stalled time


@dataclass(frozen=True, slots=True)
class FinishedTransfer:
    """A request with a response: bytes, seconds until the response, kernel state before and after.

    others: bytes of other requests that arrived in the same time. compute: mean seconds of the remote stage.
    arrived: seconds after which all of it was seen to be acknowledged, None if it never was. received: bytes
    of the response, if it is not small.
    """

    size: int
    seconds: float
    compute: float
    before: TcpInfo
    after: TcpInfo
    others: int = 0
    arrived: float | None = None
    received: int = 0


def sample_of_transfer(transfer: FinishedTransfer, at: float) -> RateSample | None:
    """The sample of a request whose response arrived at `at`; None if it shows nothing.

    The remote compute time is known on average only; the rest is the link's. The sample's lower bound is the
    bytes over all time that may have been the link's, its upper bound over the time that must have been. Time
    is possibly not the link's if everything was acknowledged or nothing was in flight (the remote server was
    slow, this process had nothing to send, or a proxy took the bytes), if the receiver's window or the send
    buffer was the limit, or if the sender's window was used up and a round trip had to pass. A response takes
    its share of the time by its bytes, as the plan assumes, unless the request is known to have taken more.
    """
    before, after = transfer.before, transfer.after
    size = transfer.size + transfer.others
    longest = transfer.seconds - after.round_trip - LEAST_COMPUTE * transfer.compute
    if transfer.received:
        sending = longest * size / (size + transfer.received)
        longest = min(longest, max(sending, transfer.arrived or 0.0))
    shortest = expected = longest - JITTER - (MOST_COMPUTE - LEAST_COMPUTE) * transfer.compute
    if transfer.arrived is not None:
        shortest = min(shortest, transfer.arrived - JITTER - POLL)
    if not transfer.others and after.busy is not None and before.busy is not None:
        shortest = min(shortest, after.busy - before.busy - after.round_trip + _TICK)
    stalled = after.stalled - before.stalled
    shortest -= stalled if stalled > _TICK else 0.0
    if longest <= 0 or size <= 0:
        return None
    most = fastest(size, min(shortest, longest), before.window, after.round_trip)
    return RateSample(at, 8.0 * size / longest, most, longest, plain=shortest >= _MOSTLY * expected)


def fastest(size: int, seconds: float, window: int, round_trip: float) -> float:
    """Maximum rate (bit/s) of a link on which `size` bytes took at least `seconds` after the first round
    trip, if `window` bytes can be sent at once in the first round trip and twice as many in each next.

    Infinite if waiting for acknowledgements alone may have taken that long. A window of 0 is unknown.
    """
    if seconds <= 0:
        return inf
    rate = 8.0 * size / seconds
    if window <= 0:
        return rate
    # With waits in the first k round trips, the rest was sent in the remaining time. The time at a given rate
    # is the maximum over k, so the result is the maximum rate over k.
    rest, left = size - window, seconds - round_trip
    while rest > 0:
        if left <= 0:
            return inf
        rate = max(rate, 8.0 * rest / left)
        window *= 2
        rest, left = rest - window, left - round_trip
    return rate


def fastest_so_far(moved: int, seconds: float, before: TcpInfo, margin: float = 1.0) -> float:
    """Maximum rate (bit/s) of a link on which `moved` bytes are known to have arrived `seconds` after a
    transfer began that is still waiting. before: its connection at its start.

    Infinite while the reason may be delays of this process, waits for acknowledgments, or the usual variation
    of the round trip. margin: multiplies the time allowed for these. Infinite without a known round trip.
    """
    if before.round_trip <= 0:
        return inf
    return fastest(moved + SEGMENTS, seconds - margin * excused(before), before.window, before.round_trip)


def excused(before: TcpInfo) -> float:
    """Seconds for which a transfer may stand still although its link is as fast as before."""
    return max(JITTER + (1 + _LATE_ROUND_TRIPS) * before.round_trip, before.usual)


def sample_between(moved: int, seconds: float, at: float, most: float = inf) -> RateSample:
    """The rate while data was waiting all the time: `moved` bytes are known to have arrived, more than `most`
    cannot have.
    """
    bound = min(moved + SEGMENTS, max(most, moved))
    return RateSample(at, 8.0 * moved / seconds, 8.0 * bound / seconds, seconds)


def tight(sample: RateSample) -> bool:
    """Whether it measures the rate, not only a bound of it."""
    return sample.plain and sample.high <= _TIGHT * sample.low
