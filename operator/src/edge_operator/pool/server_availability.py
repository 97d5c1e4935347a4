"""Which Triton servers respond, and for how long. The loop over all servers notes what it finds. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

AWAY_AFTER = 30.0
"""Seconds without a response after which a server is taken as lost; a restart of Triton takes less."""
STEADY_AFTER = 300.0
"""Seconds for which a server must have responded before an entry node moves to it without need."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Since when servers respond, or do not, by address; empty after a restart."""

    since: Mapping[str, tuple[bool, float]] = field(default_factory=dict)

    def noted(self, models: Mapping[str, Collection[str] | None], now: float) -> "Availability":
        """Returns what is known after a look. models: of each server, None for one that does not respond."""
        changed = {
            address: (found is not None, now)
            for address, found in models.items()
            if self.since.get(address, (None, 0.0))[0] is not (found is not None)
        }
        return Availability({**self.since, **changed}) if changed else self

    def away(self, address: str, now: float) -> bool:
        """Whether a server is taken as lost. now: in seconds, as in `noted`."""
        return self._lasts(address, now, AWAY_AFTER, responds=False)

    def steady(self, address: str, now: float) -> bool:
        """Whether a server has responded for long enough; not before it is known."""
        return self._lasts(address, now, STEADY_AFTER, responds=True)

    def _lasts(self, address: str, now: float, seconds: float, *, responds: bool) -> bool:
        found, since = self.since.get(address, (None, 0.0))
        return found is responds and now - since >= seconds
