"""The link rate that one transfer shows, without the delays that were not the link's. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from edge_planning.links.estimates import RateSample
from edge_runtime.links.sockets import TcpInfo

JITTER: Final = (
    0.006  # what a throttled process may add to a time it takes: a cpu quota's period and a little
)
POLL: Final = 0.01  # seconds between two looks at what has arrived
LEAST_COMPUTE, MOST_COMPUTE = 0.7, 1.3  # shares of its mean that a computation may take
SEGMENTS: Final = 3000  # bytes that may have arrived without their acknowledgement
_TIGHT: Final = 1.6  # a sample's greatest rate over its least, up to which it is a measurement
_MOSTLY: Final = 0.9  # share of the expected time that must be the link's in a plain sample
_TICK: Final = 0.01  # the coarsest clock by which kernels count busy and stalled time


@dataclass(frozen=True, slots=True)
class FinishedTransfer:
    """A request that was answered: bytes, seconds until the answer, what the kernel said before and after.

    others: bytes of other requests that arrived meanwhile. compute: seconds that the far stage takes on
    average. arrived: seconds after which all of it was seen to be acknowledged, None when it never was.
    """

    size: int
    seconds: float
    compute: float
    before: TcpInfo
    after: TcpInfo
    others: int = 0
    arrived: float | None = None


def sample_of_transfer(transfer: FinishedTransfer, at: float) -> RateSample | None:
    """The sample of an answered request that ended `at`; None when it says nothing.

    The far compute is known on average only; what is not the compute's is the link's. Its least rate is bytes
    over all that may have been the link's, its greatest over what must have been. Not the link's may be: the
    time after everything was acknowledged or in which nothing was on its way (the far server was slow, this
    process had nothing to send, or a proxy took the bytes), that in which the receiver's window or the send
    buffer held it up, and that in which the sender's window was used up and a round trip had to pass.
    """
    before, after = transfer.before, transfer.after
    size = transfer.size + transfer.others
    longest = transfer.seconds - after.round_trip - LEAST_COMPUTE * transfer.compute
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
    """The greatest rate (bit/s) of a link over which `size` bytes took at least `seconds` after the first
    round trip, when `window` bytes may be sent at once in the first of them and twice as many in each next.

    Infinite when waiting for acknowledgements alone may have taken that long. A window of 0 is not known.
    """
    if seconds <= 0:
        return inf
    rate = 8.0 * size / seconds
    if window <= 0:
        return rate
    # With waits in the first k round trips the rest was sent in what is left of the time; the time that a
    # rate takes is the longest of these, so the rate is the greatest.
    rest, left = size - window, seconds - round_trip
    while rest > 0:
        if left <= 0:
            return inf
        rate = max(rate, 8.0 * rest / left)
        window *= 2
        rest, left = rest - window, left - round_trip
    return rate


def sample_between(moved: int, seconds: float, at: float, most: float = inf) -> RateSample:
    """The rate while something was waiting to be moved all the time: `moved` bytes are known to have arrived,
    more than `most` cannot have.
    """
    bound = min(moved + SEGMENTS, max(most, moved))
    return RateSample(at, 8.0 * moved / seconds, 8.0 * bound / seconds, seconds)


def tight(sample: RateSample) -> bool:
    """Whether it tells the rate, and not only that it is more or less than something."""
    return sample.plain and sample.high <= _TIGHT * sample.low
