"""Tails that were admitted to a Triton server but that no published table names yet.

Services are reconciled at the same time: without this record, two of them would take the same room, or one
would unload what another is about to use.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from edge_operator.errors import TritonBusyError

_PATIENCE = 1.0
_HELD = 180.0
"""Seconds after which a tail whose service neither published nor released it is forgotten."""


class Admitted:
    """Names and footprints (bytes) by server, the host and port of its address. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._held: dict[tuple[str, str], tuple[int, float]] = {}

    @contextlib.contextmanager
    def turn(self, server: str) -> Iterator[None]:
        """Yields while no other service decides about the server. Raises TritonBusyError."""
        with self._lock:
            turn = self._turns.setdefault(server, threading.Lock())
        if not turn.acquire(timeout=_PATIENCE):
            raise TritonBusyError(f"Triton at {server} is busy: admitting tails of another service")
        try:
            yield
        finally:
            turn.release()

    def hold(self, server: str, footprints: Mapping[str, int]) -> None:
        """Records tails until they are released."""
        until = self._clock() + _HELD
        with self._lock:
            self._held |= {(server, name): (size, until) for name, size in footprints.items()}

    def release(self, server: str, names: Iterable[str]) -> None:
        """Forgets tails that a table names now."""
        with self._lock:
            for name in names:
                self._held.pop((server, name), None)

    def held(self, server: str) -> dict[str, int]:
        """Returns the tails of a server with their footprints."""
        now = self._clock()
        with self._lock:
            self._held = {key: held for key, held in self._held.items() if held[1] > now}
            return {name: size for (at, name), (size, _) in self._held.items() if at == server}
