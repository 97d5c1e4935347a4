"""What an entry node can learn about its link."""

from dataclasses import dataclass

from edge_planning.errors import require


@dataclass(frozen=True, slots=True)
class Sample:
    """The bandwidth that a transfer saw, in bit/s, the round trip taken out.

    error: relative standard deviation of the measurement itself (a small probe is less certain than a large
    transfer). limited: the sender had no more to send, so the link could do this or more.
    """

    bandwidth: float
    error: float = 0.0
    limited: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.bandwidth < float("inf"), f"bandwidth {self.bandwidth} bit/s of a sample")
        require(0 <= self.error < float("inf"), f"relative error {self.error} of a sample")

    @classmethod
    def of_transfer(cls, bits: float, seconds: float, *, limited: bool = False) -> "Sample":
        """From what was sent and how long that took, without the round trip."""
        require(bits > 0 and seconds > 0, f"a transfer of {bits} bits in {seconds} s")
        return cls(bits / seconds, limited=limited)


@dataclass(frozen=True, slots=True)
class NoReply:
    """A transfer of so many bits was not done after so many seconds (round trip taken out)."""

    bits: float
    seconds: float

    def __post_init__(self) -> None:
        require(self.bits > 0 and self.seconds > 0, f"no reply to {self.bits} bits after {self.seconds} s")


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The link is known to be gone: refused, unreachable, carrier lost."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A measured round-trip time in seconds."""

    seconds: float

    def __post_init__(self) -> None:
        require(0 <= self.seconds < float("inf"), f"round trip of {self.seconds} s")


@dataclass(frozen=True, slots=True)
class ProbeSent:
    """A probe is on its way; until it is answered or given up no other is asked for."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Time has passed."""


Observation = Sample | NoReply | LinkDown | RoundTrip | ProbeSent | Nothing
