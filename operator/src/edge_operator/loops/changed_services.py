"""The services of a pool that changed since its last turn, and how long they waited for the next one."""

from collections.abc import Callable, Iterable

from edge_operator.keys import ServiceKey


class ChangedServices:
    """Used on the event loop only. clock: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[ServiceKey, float] = {}

    def add(self, key: ServiceKey) -> None:
        """Notes that a service has changed."""
        self._since.setdefault(key, self._clock())

    def update(self, keys: Iterable[ServiceKey]) -> None:
        """Notes that services have changed."""
        for key in keys:
            self.add(key)

    def take(self, waited: Callable[[float], None]) -> set[ServiceKey]:
        """Returns them, once. waited: called with the seconds since the first change of each."""
        now, since = self._clock(), self._since
        self._since = {}
        for at in since.values():
            waited(now - at)
        return set(since)
