"""What is switched on for cheap inputs, and by which numbers."""

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
class Filtering:
    """Filter settings as flags give them."""

    action: str = ANSWER
    threshold: float = 0.02
    max_age: float = 1.0


@dataclass(frozen=True, slots=True)
class Caching:
    """Cache settings as flags give them."""

    max_bytes: float = 16 << 20
    max_age: float = 60.0


@dataclass(frozen=True, slots=True)
class Cheap:
    """Both, None where switched off, and the model whose results they are of: its digest.

    unrepeatable: why that model may answer the same inputs otherwise; empty where it does not. Where it
    may, nothing that it answered is given again.
    """

    filter: FilterSettings | None = None
    cache: CacheSettings | None = None
    model: str = ""
    unrepeatable: str = ""

    @property
    def withheld(self) -> Cheap:
        """What is left of it for a model like that: an input may be dropped, no answer is given again."""
        if not self.unrepeatable:
            return self
        filter_ = self.filter if self.filter is not None and self.filter.action == DROP else None
        return replace(self, filter=filter_, cache=None)


OFF: Final = Cheap()
