"""Results by the digest of their inputs. Pure: times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from cachetools import LRUCache

from edge_runtime.memoization.kept_responses import owned, size_of_response
from edge_runtime.memoization.settings import CacheSettings
from edge_runtime.responses import InferenceResponse

HIT: Final = "hit"
JOINED: Final = "joined"
MISS: Final = "miss"
STALE: Final = "stale"

Key = tuple[bytes, tuple[str, ...]]

_ENTRIES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    response: InferenceResponse
    at: float
    size: int


class ResultCache:
    """The results of one model; each key is the inputs' digest and the names of the outputs."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._entries = _entries(settings)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of all cached results."""
        return round(self._entries.currsize)

    def use(self, settings: CacheSettings) -> None:
        """Applies new limits; results within them stay."""
        before, self._settings, self._entries = self._entries, settings, _entries(settings)
        while before.currsize > settings.max_bytes:
            before.popitem()
        while before:  # the least recently used first, which keeps the order
            self._put(*before.popitem())

    def find(self, key: Key, accuracy: float, now: float) -> tuple[str, InferenceResponse | None]:
        """The outcome of a lookup, and the response if it is a hit.

        A result is stale if it is too old, or less accurate than a response would be now (by a route of
        `accuracy`).
        """
        entry = self._entries.get(key)
        if entry is None:
            return MISS, None
        if now - entry.at > self._settings.max_age:
            del self._entries[key]
            return STALE, None
        return (HIT, entry.response) if entry.response.accuracy >= accuracy else (STALE, None)

    def keep(self, key: Key, response: InferenceResponse, now: float) -> None:
        """Adds a result, unless the cache has a more accurate one that is not too old."""
        entry = self._entries.get(key)
        if (
            entry is None
            or entry.response.accuracy <= response.accuracy
            or now - entry.at > self._settings.max_age
        ):
            kept = owned(response)
            self._put(key, _Entry(kept, now, size_of_response(kept)))

    def _put(self, key: Key, entry: _Entry) -> None:
        self._entries.pop(key, None)
        if entry.size <= self._entries.maxsize:
            self._entries[key] = entry
        if len(self._entries) > _ENTRIES:
            self._entries.popitem()


def _entries(settings: CacheSettings) -> LRUCache[Key, _Entry]:
    return LRUCache(settings.max_bytes, getsizeof=attrgetter("size"))
