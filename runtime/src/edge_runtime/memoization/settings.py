"""Settings of the input filter and the result cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

ANSWER: Final = "Answer"
DROP: Final = "Drop"


class FilterSettings(Protocol):
    """The input filter: what to do with an input nearer than `threshold`, for at most `max_age` seconds."""

    @property
    def action(self) -> str: ...

    @property
    def threshold(self) -> float: ...

    @property
    def max_age(self) -> float: ...


class CacheSettings(Protocol):
    """The result cache: at most `max_bytes` of results, none older than `max_age` seconds."""

    @property
    def max_bytes(self) -> float: ...

    @property
    def max_age(self) -> float: ...


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Filter settings from the command line."""

    action: str = ANSWER
    threshold: float = 0.02
    max_age: float = 1.0


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Cache settings from the command line."""

    max_bytes: float = 16 << 20
    max_age: float = 60.0


@dataclass(frozen=True, slots=True)
class MemoizationSettings:
    """Both settings, None if disabled, and the digest of the model whose results they reuse.

    unrepeatable: why that model may give different outputs for the same inputs; empty if it does not. The
    results of such a model are never reused.
    """

    filter: FilterSettings | None = None
    cache: CacheSettings | None = None
    model: str = ""
    unrepeatable: str = ""

    @property
    def withheld(self) -> MemoizationSettings:
        """The settings in effect: an unrepeatable model's inputs can be dropped, but no result is reused."""
        if not self.unrepeatable:
            return self
        filter_ = self.filter if self.filter is not None and self.filter.action == DROP else None
        return replace(self, filter=filter_, cache=None)


OFF: Final = MemoizationSettings()
