"""What the benchmark sees of services and Placements, and how long changes take to reach both."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field

from benchmarks.operator.fleet import Document, changes_of
from edge_api.told_links import LINKS_ANNOTATION

Key = tuple[str, str]
"""Namespace and name of a service."""
ENTRIES = 2
"""Entry nodes of each service."""


@dataclass
class Observed:
    """The newest state. Safe to use from several threads.

    Attributes:
        settled: Whether each service is Ready by its present spec.
        lags: Seconds until both Placements of a service had a change, or a later one.
        placement_changes: How often what the operator applies of a Placement changed.
    """

    settled: dict[Key, bool] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    placement_changes: int = 0
    tails: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """What each Placement uses of Triton servers, as `HOST:PORT NAME`."""
    _generations: dict[Key, int] = field(default_factory=dict)
    _at: dict[Key, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """The changes that the Placements of a service have, by name."""
    _applied: dict[tuple[str, str], Hashable] = field(default_factory=dict)
    _sent: dict[Key, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    """Changes that not all Placements have, and when they were made."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def service(self, body: Document) -> None:
        """Takes an InferenceService as it is now."""
        metadata, status = body["metadata"], body.get("status") or {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
        current = status.get("observedGeneration") == metadata["generation"]
        with self._lock:
            self.settled[metadata["namespace"], metadata["name"]] = ready and current

    def placement(self, body: Document, now: float) -> None:
        """Takes a Placement as it is now. now: in seconds, as in `sent`."""
        metadata, spec = body["metadata"], body["spec"]
        place = metadata["namespace"], metadata["name"]
        key = metadata["namespace"], spec["service"]
        notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LINKS_ANNOTATION}
        applied = (metadata["generation"], repr(sorted(notes.items())), repr(metadata.get("labels")))
        stages = [stage for route in spec["routes"] for stage in route["stages"]]
        with self._lock:
            if self._applied.get(place) != applied:
                self._applied[place] = applied
                self.placement_changes += 1
            self.tails[place] = frozenset(
                f"{each['address'].partition('://')[2]} {each['model']}"
                for each in stages
                if each["runtime"] == "Triton"
            )
            self._at[key][metadata["name"]] = changes_of(spec["slo"]["latency"])
            reached = self._reached(key)
            for number, at in [each for each in self._sent[key] if each[0] <= reached]:
                self._sent[key].remove((number, at))
                self.lags.append(now - at)

    def sent(self, key: Key, number: int, now: float) -> None:
        """Notes that a change is being made. number: of the changes of the service."""
        with self._lock:
            self._sent[key].append((number, now))

    @property
    def ready(self) -> int:
        """The number of services that are Ready by their present spec."""
        with self._lock:
            return sum(self.settled.values())

    @property
    def waiting(self) -> int:
        """The number of changes that some Placement does not have."""
        with self._lock:
            return sum(map(len, self._sent.values()))

    @property
    def under_way(self) -> int:
        """The number of services of which one Placement has a change and another one does not."""
        with self._lock:
            return sum(len(set(self._at[key].values())) > 1 for key, sent in self._sent.items() if sent)

    @property
    def used(self) -> frozenset[str]:
        """What all Placements use of Triton servers."""
        with self._lock:
            return frozenset().union(*self.tails.values())

    def _reached(self, key: Key) -> int:
        found = self._at[key].values()
        return min(found) if len(found) >= ENTRIES else -1
