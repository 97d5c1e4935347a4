"""Which measurements of a link matter to a route table that is already planned. Pure.

The operator plans a table for a round trip and for the bandwidths from which each route applies. The runtime
reports a measurement that the table was not planned for, and the operator plans by the same rule.
"""

from collections.abc import Iterable

DEFAULT_ROUND_TRIP = 0.002
"""The round trip (s) that tables are planned for until one is measured."""
FASTEST_MEASURED = 100e6
"""Bandwidth (bit/s) between nodes up to which probes measure it; a report of it stands for any higher one."""
_BEYOND = 0.1
"""Part of a route's least bandwidth by which a measurement must be beyond it."""
_APART = 1.25
"""Ratio of two bandwidths above which they are different links to plan for."""


def differs(planned: float | None, measured: float) -> bool:
    """Whether a measured round trip (s) differs from the planned one by more than half and more than 5 ms.

    Noise must not change a plan: every new table has to be loaded. planned: None for the default.
    """
    before = DEFAULT_ROUND_TRIP if planned is None else planned
    return abs(measured - before) > max(0.005, 0.5 * before)


def crosses(borders: Iterable[float], before: float, now: float) -> bool:
    """Whether the bandwidth (bit/s) left the band between two borders, by more than a tenth of a border.

    borders: the least bandwidths of the routes. Noise around a border is therefore no change.
    """
    return any(
        now < (1 - _BEYOND) * border if before >= border else now >= (1 + _BEYOND) * border
        for border in borders
    )


def departs(known: float | None, measured: float) -> bool:
    """Whether a measured bandwidth (bit/s) differs by more than a quarter from the known one (None: none)."""
    return known is None or max(known, measured) > _APART * min(known, measured)
