"""How often runtimes report counters, so that those of a pool are at most 60 writes a minute. Pure."""

import math
from typing import Final

SHORTEST: Final = 8.0
"""Seconds between two reports of a Placement in a small pool."""


def report_interval(placements: int, before: float | None) -> float:
    """Returns the seconds between two reports of each of so many Placements of a pool: a power of two.

    before: the interval until now. It is shortened only if the pool has a quarter of the Placements that it
    is for: one service more or less does not rewrite all Placements.
    """
    least = max(SHORTEST, 2.0 ** math.ceil(math.log2(max(placements, 1))))
    return before if before is not None and least <= before < 4 * placements else least
