"""Which Triton servers respond, and for how long. The loop over all servers notes what it finds."""

import threading
from collections.abc import Collection, Mapping

AWAY_AFTER = 30.0
"""Seconds without a response after which a server is taken as lost; a restart of Triton takes less."""
STEADY_AFTER = 300.0
"""Seconds for which a server must have responded before an entry node moves to it without need."""


class Availability:
    """Since when servers respond, or do not, by address. From any thread; empty after a restart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, tuple[bool, float]] = {}

    def note(self, models: Mapping[str, Collection[str] | None], now: float) -> None:
        """Notes a look at servers. models: of each, None for one that does not respond."""
        with self._lock:
            for address, found in models.items():
                responds = found is not None
                if self._since.get(address, (None, 0.0))[0] is not responds:
                    self._since[address] = (responds, now)

    def away(self, address: str, now: float) -> bool:
        """Whether a server is taken as lost. now: in seconds, as in `note`."""
        return self._lasts(address, now, AWAY_AFTER, responds=False)

    def steady(self, address: str, now: float) -> bool:
        """Whether a server has responded for long enough; not before it is known."""
        return self._lasts(address, now, STEADY_AFTER, responds=True)

    def _lasts(self, address: str, now: float, seconds: float, *, responds: bool) -> bool:
        with self._lock:
            found, since = self._since.get(address, (None, 0.0))
        return found is responds and now - since >= seconds
