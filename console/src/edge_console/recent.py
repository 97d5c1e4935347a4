"""What Placements reported in the last hour, a sample a minute, in memory.

An hour of one entry node takes about 2 KB. The samples begin when the console starts: a service's status has
its attainment, but neither bandwidth nor latency over time.
"""

from collections import OrderedDict, deque
from typing import Any, Final

from edge_console.fields import Json, amount, key_of, seconds, status
from edge_operator.cluster import Object

EVERY: Final = 60.0
"""Seconds between two samples of an entry node."""
KEPT: Final = 60
_PLACEMENTS: Final = 5000
"""Placements of which samples are kept; the one that reported longest ago is dropped first."""


class Samples:
    """The last hour of each Placement. Pure: times are arguments."""

    def __init__(self, placements: int = _PLACEMENTS) -> None:
        self._placements = placements
        self._found: OrderedDict[str, deque[tuple[Any, ...]]] = OrderedDict()

    def take(self, placement: Object, at: float) -> None:
        """Adds a sample of a Placement at a Unix time."""
        key, now = key_of(placement), status(placement)
        samples = self._found.setdefault(key, deque(maxlen=KEPT))
        latency, link = now.get("latency") or {}, now.get("link") or {}
        samples.append(
            (at, seconds(latency.get("p95")), amount(link.get("bandwidth")), now.get("activeRoute"))
        )
        self._found.move_to_end(key)
        while len(self._found) > self._placements:
            self._found.popitem(last=False)

    def of(self, key: str) -> list[Json]:
        """Returns the samples of a Placement by namespace/name, oldest first."""
        names = ("at", "p95", "bandwidth", "route")
        return [dict(zip(names, each, strict=True)) for each in self._found.get(key, ())]
