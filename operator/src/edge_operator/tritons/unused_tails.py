"""Which models of a Triton server go: the installation's own that no table has used for a while. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edge_operator.tritons.tail_models import may_be_ours

GRACE = 30.0
"""Seconds that a tail stays loaded after the last table that names it, for requests in flight."""


@dataclass(frozen=True, slots=True)
class UnusedTails:
    """The models of one server that no table uses. After a restart, the grace periods begin again.

    Attributes:
        since: When each was first seen unused, in seconds of the monotonic clock, by name.
        foreign: Models that are named like tails of the installation but bear another mark.
        listed: All models at the last look; None before the first one.
        appeared: The unused models that were not there at an earlier look.
    """

    since: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    foreign: frozenset[str] = frozenset()
    listed: frozenset[str] | None = None
    appeared: frozenset[str] = frozenset()

    def seen(self, ready: frozenset[str], used: Collection[str], owner: str, now: float) -> "UnusedTails":
        """Returns what is known after a look. ready: the loaded models. used: names in use there."""
        foreign = self.foreign & ready
        unused = {name for name in ready - foreign if may_be_ours(name, owner) and name not in used}
        new = frozenset() if self.listed is None else ready - self.listed
        since = _read_only({name: self.since.get(name, now) for name in unused})
        return UnusedTails(since, foreign, ready, (self.appeared | new) & frozenset(unused))

    def due(self, now: float) -> tuple[str, ...]:
        """Returns the models whose grace period is over."""
        return tuple(sorted(name for name, since in self.since.items() if now - since >= GRACE))

    def without(self, names: Collection[str]) -> "UnusedTails":
        """Returns what is left once models are unloaded, or turn out to be used."""
        left = {name: since for name, since in self.since.items() if name not in names}
        return replace(self, since=_read_only(left), appeared=self.appeared & left.keys())

    def with_foreign(self, name: str) -> "UnusedTails":
        """Returns what is left once the mark of a model shows that it is not of the installation."""
        return replace(self.without({name}), foreign=self.foreign | {name})

    def emptied(self, ready: Collection[str], owner: str) -> bool:
        """Whether none of the loaded models can be of the installation."""
        return not any(may_be_ours(name, owner) and name not in self.foreign for name in ready)


def _read_only(since: dict[str, float]) -> Mapping[str, float]:
    return MappingProxyType(since)
