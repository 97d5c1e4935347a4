"""The measured links of a node: one monitor for each peer and probe, which all services share.

Probes cost bytes on the link, so they are budgeted for the link and not for each service.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from edge_api.told_links import ToldLink
from edge_runtime.connections import Resolver
from edge_runtime.links import told
from edge_runtime.links.monitors import LinkMonitor, LinkSpec, OnChange


class OnMeasured(Protocol):
    """Called after each measurement of a link, before the services that use it."""

    def __call__(self, link: LinkMonitor, *, recovered: bool) -> None: ...


class LinkRegistry:
    """The monitors in use, each with the services that it informs. on_probe: called with peer and bytes."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Callable[[], float],
        on_measured: OnMeasured,
        on_probe: Callable[[str, int], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver, self._clock, self._tls = resolver, clock, tls
        self._on_measured, self._on_probe = on_measured, on_probe
        self._monitors: WeakValueDictionary[tuple[str, str], LinkMonitor] = WeakValueDictionary()
        self._listeners: dict[tuple[str, str], list[OnChange]] = {}
        self._told: dict[tuple[str, str], dict[OnChange, ToldLink]] = {}

    def find(self, spec: LinkSpec, start: float | None = None) -> LinkMonitor:
        """Returns the monitor of a link, which measures while a service uses it. start: see LinkMonitor."""
        key = (spec.peer, spec.probe)
        known = self._monitors.get(key)
        if known is None:
            known = self._monitors[key] = LinkMonitor(
                spec,
                self._resolver,
                lambda *, recovered, notable: self._changed(key, recovered=recovered, notable=notable),
                self._clock,
                self._tls,
                lambda size: self._on_probe(spec.peer, size),
                start=start,
            )
        return known

    def use(self, link: LinkMonitor, spec: LinkSpec, listener: OnChange) -> None:
        """Measures a link for one more listener, by the newest interval and budget."""
        key = (spec.peer, spec.probe)
        listeners = self._listeners.setdefault(key, [])
        if not listeners:
            link.start()
        if listener not in listeners:
            listeners.append(listener)
        link.adopt(spec)

    def tell(self, link: LinkMonitor, listener: OnChange, told_link: ToldLink | None) -> None:
        """Tells a link what the Placement of one listener says of it. The last one counts."""
        told_links = self._told.setdefault((link.spec.peer, link.spec.probe), {})
        if told_link is None:
            told_links.pop(listener, None)
        else:
            told_links[listener] = told_link
        link.tell(told.newest(told_links.values()))

    def leave(self, link: LinkMonitor, listener: OnChange) -> None:
        """Ends the use of a link by a listener. A link without listeners is no longer measured."""
        key = (link.spec.peer, link.spec.probe)
        listeners = self._listeners.get(key, [])
        self.tell(link, listener, None)
        if listener in listeners:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[key]
                self._told.pop(key, None)
                link.cancel()

    async def close(self) -> None:
        """Stops measuring."""
        for key in list(self._listeners):
            link = self._monitors.get(key)
            if link is not None:
                await link.stop()
        self._listeners.clear()

    def _changed(self, key: tuple[str, str], *, recovered: bool, notable: bool) -> None:
        link = self._monitors.get(key)
        if link is not None:
            self._on_measured(link, recovered=recovered)
        for listener in list(self._listeners.get(key, ())):
            listener(recovered=recovered, notable=notable)
