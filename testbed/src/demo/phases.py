"""The link rates of the demo's phases, and the modes of the service. Pure values."""

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
    """Formats a link: `20 Mbit/s`, `0.25 Mbit/s`, `cut`, or `as it is` if the demo does not shape it."""
    if bps is None:
        return "as it is"
    return "cut" if bps == CUT else f"{bps / 1e6:g} Mbit/s"


def planned(
    seconds: float, *, shaped: bool = True, rates: Sequence[float] = LINK_RATES_BPS
) -> tuple[Phase, ...]:
    """Returns the phases of one mode: if links cannot be shaped, a single one of twice the length."""
    if not shaped:
        return (Phase(0, None, 2 * seconds),)
    return tuple(Phase(index, rate, seconds) for index, rate in enumerate(rates))


def settled(phase_elapsed: float) -> bool:
    """Whether a bandwidth measured this long after the start of a phase counts as its link's."""
    return phase_elapsed >= SETTLE_SECONDS
