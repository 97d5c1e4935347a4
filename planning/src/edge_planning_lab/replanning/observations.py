"""The observations of an entry node about its link."""

from dataclasses import dataclass

from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class BandwidthSample:
    """The bandwidth of a transfer in bit/s, without the round trip.

    Attributes:
        error: Relative standard deviation of the measurement (a small probe is less certain than a large
            transfer).
        limited: The sender had no more data, so the link's bandwidth is this value or more.
    """

    bandwidth: float
    error: float = 0.0
    limited: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.bandwidth < float("inf"), f"bandwidth {self.bandwidth} bit/s of a sample")
        require(0 <= self.error < float("inf"), f"relative error {self.error} of a sample")


@dataclass(frozen=True, slots=True)
class NoReply:
    """A transfer of `bits` was not complete after `seconds` (without the round trip)."""

    bits: float
    seconds: float

    def __post_init__(self) -> None:
        require(self.bits > 0 and self.seconds > 0, f"no reply to {self.bits} bits after {self.seconds} s")


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is known to be down: refused, unreachable, carrier lost."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A measured round-trip time in seconds."""

    seconds: float

    def __post_init__(self) -> None:
        require(0 <= self.seconds < float("inf"), f"round trip of {self.seconds} s")


@dataclass(frozen=True, slots=True)
class ProbeSent:
    """A probe was sent; no other is requested until it succeeds or is given up."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Time has passed."""


Observation = BandwidthSample | NoReply | LinkDown | RoundTrip | ProbeSent | Nothing
