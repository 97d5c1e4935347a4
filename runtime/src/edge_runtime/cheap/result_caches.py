"""Results by the digest of their inputs. Pure: times come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_runtime.answers import Answer
from edge_runtime.cheap.recent import Recent
from edge_runtime.cheap.results import owned, size_of_answer
from edge_runtime.cheap.settings import CacheSettings

HIT: Final = "hit"
JOINED: Final = "joined"
MISS: Final = "miss"
STALE: Final = "stale"

Key = tuple[bytes, tuple[str, ...]]

_ENTRIES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    at: float


class ResultCache:
    """The results of one model; each key is the inputs' digest and the names of the outputs."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._entries: Recent[Key, _Entry] = Recent(settings.max_bytes, _ENTRIES)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Of all results that are kept."""
        return self._entries.bytes

    def use(self, settings: CacheSettings) -> None:
        """Other bounds from now on; what is within them stays."""
        self._settings = settings
        self._entries.bound(settings.max_bytes)

    def find(self, key: Key, accuracy: float, now: float) -> tuple[str, Answer | None]:
        """How the look-up went, and the answer of a hit.

        Stale is what is too old, or less accurate than what would answer now (by a route of `accuracy`).
        """
        entry = self._entries.find(key)
        if entry is None:
            return MISS, None
        if now - entry.at > self._settings.max_age:
            self._entries.forget(key)
            return STALE, None
        return (HIT, entry.answer) if entry.answer.accuracy >= accuracy else (STALE, None)

    def keep(self, key: Key, answer: Answer, now: float) -> None:
        """One more result; one that is more accurate and not too old stays instead."""
        entry = self._entries.find(key)
        if (
            entry is None
            or entry.answer.accuracy <= answer.accuracy
            or now - entry.at > self._settings.max_age
        ):
            kept = owned(answer)
            self._entries.keep(key, _Entry(kept, now), size_of_answer(kept))
