"""What the link does during the demo, and in which modes the service is shown. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MODES = ("Auto", "CloudOnly", "LocalOnly", "RightSizingOnly")
PARTITION_ONLY = "PartitionOnly"
CUT = 0.0
LINK_RATES_BPS = (20e6, 4e6, 1e6, 0.25e6, CUT, 20e6)
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Phase:
    """A span with one link setting: `link_bps` in bit/s, 0 for a cut link, None for one left alone."""

    index: int
    link_bps: float | None
    seconds: float

    @property
    def label(self) -> str:
        return link_label(self.link_bps)


def link_label(bps: float | None) -> str:
    """`20 Mbit/s`, `0.25 Mbit/s`, `cut`, or `as it is` where the demo does not shape."""
    if bps is None:
        return "as it is"
    return "cut" if bps == CUT else f"{bps / 1e6:g} Mbit/s"


def planned(
    seconds: float, *, shaped: bool = True, rates: Sequence[float] = LINK_RATES_BPS
) -> tuple[Phase, ...]:
    """The phases of one mode. Where links cannot be shaped there is one, as long as two."""
    if not shaped:
        return (Phase(0, None, 2 * seconds),)
    return tuple(Phase(index, rate, seconds) for index, rate in enumerate(rates))


def settled(phase_elapsed: float) -> bool:
    """Whether a bandwidth measured this long after the phase began is held against the link as set."""
    return phase_elapsed >= SETTLE_SECONDS
