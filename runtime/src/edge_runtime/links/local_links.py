"""The links to intermediate nodes that a service's Placement names, which are measured for the plan.

Routes are chosen by the link to Triton alone; the links between nodes decide which routes are planned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from edge_api.placements import LocalLink
from edge_api.told_links import ToldLink
from edge_planning.links.bands import FASTEST_MEASURED
from edge_runtime.links.monitors import LinkMonitor, OnChange
from edge_runtime.links.registry import LinkRegistry
from edge_runtime.status import LinkReport

_RECENT: Final = 10  # measurements


@dataclass(frozen=True, slots=True)
class LocalLinkSettings:
    """What a monitor needs of a link between nodes."""

    peer: str
    probe: str
    interval: float
    budget: float


class _Level:
    """The measured levels of one link. The highest of the last ones counts.

    The node at the other end also runs slices: while its CPU quota is used up, or a hop sends, a probe takes
    longer than on the link alone. The plan needs what the link can carry.
    """

    def __init__(self, monitor: LinkMonitor, on_change: OnChange) -> None:
        self.monitor, self._on_change = monitor, on_change
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def __call__(self, *, recovered: bool, notable: bool) -> None:
        rate = self.monitor.report().bandwidth
        if recovered:
            self._recent.clear()
        if rate is not None:
            self._recent.append(rate)
        self._on_change(recovered=recovered, notable=notable)

    def report(self) -> LinkReport:
        found = self.monitor.report()
        highest = max(self._recent, default=0.0)
        if self.monitor.measured_elsewhere:
            highest = found.bandwidth or 0.0  # of the last levels there
        elif len(self._recent) < _RECENT and highest < FASTEST_MEASURED:
            highest = 0.0
        bandwidth = min(highest, FASTEST_MEASURED) if highest else None
        return replace(found, bandwidth=bandwidth, bandwidth_low=None)


class LocalLinks:
    """The links of the table in use. on_change: called after each measurement."""

    def __init__(self, registry: LinkRegistry, on_change: OnChange) -> None:
        self._registry, self._on_change = registry, on_change
        self._levels: dict[str, _Level] = {}
        self._told: Mapping[str, ToldLink] = {}

    def use(self, links: Iterable[LocalLink]) -> None:
        """Measures these links, and no others any more."""
        before, self._levels = self._levels, {}
        for link in links:
            if link.probe is not None:
                settings = LocalLinkSettings(link.peer, link.probe, link.interval, link.budget)
                monitor = self._registry.find(settings, float(link.bandwidth))
                known = before.get(link.peer)
                if known is None or known.monitor is not monitor:
                    known = _Level(monitor, self._on_change)
                self._levels[link.peer] = known
                self._registry.tell(monitor, known, self._told.get(link.peer))
                self._registry.use(monitor, settings, known)
        for peer, level in before.items():
            if self._levels.get(peer) is not level:
                self._registry.leave(level.monitor, level)

    def tell(self, told: Mapping[str, ToldLink]) -> None:
        """Takes the values of links that another runtime measures, by peer."""
        self._told = told
        for peer, level in self._levels.items():
            self._registry.tell(level.monitor, level, told.get(peer))

    def report(self) -> dict[str, LinkReport]:
        """The links for the status, by peer."""
        return {peer: level.report() for peer, level in sorted(self._levels.items())}
