"""What a page is sent while it is open: the first state, then what changed. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from edge_console.fields import Json
from edge_console.recent import Samples
from edge_console.seen import Seen
from edge_console.views import pools, service, services, tenants

TOPICS: Final = ("services", "pools", "tenants")
"""What every page follows."""


class Page:
    """One open page. `updates` returns the events that bring it from its last state to the present one.

    Lists are sent as rows that changed and keys that are gone: of 500 services, a second changes few.
    """

    def __init__(self, samples: Samples, rows: services.Rows, watched: Mapping[str, str]) -> None:
        """watched: one service (namespace/name) under `service`, one pool under `pool`."""
        self._samples, self._rows, self._watched = samples, rows, watched
        self._sent: dict[str, dict[str, Json]] = {}
        self._whole: dict[str, Any] = {}

    def updates(self, seen: Seen) -> list[tuple[str, Json]]:
        """Returns events as (name, data)."""
        lists: dict[str, list[Json]] = {
            "services": services.rows(seen, self._rows),
            "pools": pools.pools(seen),
        }
        found = [
            event
            for topic, rows in lists.items()
            if (event := self._changes(topic, rows, "key" if topic == "services" else "name")) is not None
        ]
        for name, make in self._parts(seen).items():
            value = make()
            if name not in self._whole or self._whole[name] != value:
                self._whole[name] = value
                found.append((name, {"value": value}))
        return found

    def _parts(self, seen: Seen) -> dict[str, Callable[[], Any]]:
        parts: dict[str, Callable[[], Any]] = {"tenants": lambda: tenants.tenants(seen)}
        if "service" in self._watched:
            namespace, _, name = self._watched["service"].partition("/")
            parts["service"] = lambda: service.service(seen, namespace, name, self._samples)
        if "pool" in self._watched:
            parts["pool"] = lambda: pools.pool(seen, self._watched["pool"])
        return parts

    def _changes(self, topic: str, rows: list[Json], key: str) -> tuple[str, Json] | None:
        before, now = self._sent.get(topic), {row[key]: row for row in rows}
        self._sent[topic] = now
        if before is None:
            return topic, {"rows": rows, "gone": [], "whole": True}
        changed = [row for name, row in now.items() if before.get(name) != row]
        gone = sorted(before.keys() - now.keys())
        return (topic, {"rows": changed, "gone": gone, "whole": False}) if changed or gone else None
