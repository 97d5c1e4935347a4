"""From a bearer token to what its holder may see: the API server's verdicts, kept for a minute.

Verdicts are kept by the hash of the token, in bounded memory. A token that is not valid is reviewed again
after 10 s, so that a wrong one cannot load the API server.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, Protocol, TypeVar

from edge_console.errors import UnauthenticatedError
from edge_console.rights import NAMESPACED, POOLS, TENANTS, Identity, Right, Sight

FRESH: Final = 60.0
"""Seconds for which a verdict is used."""
INVALID: Final = 10.0
"""Seconds for which a token counts as not valid without another review."""
_TOKENS = 1024
_RIGHTS = 65536

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Clock = Callable[[], float]


class Authority(Protocol):
    """Who says whose token it is, and what they may do. Blocking; raises UnavailableError."""

    def review(self, token: str) -> Identity | None: ...
    def allows(self, identity: Identity, right: Right) -> bool: ...


class Kept(Generic[Key, Value]):
    """The most recently used values, each until its time. Safe to use from several threads."""

    def __init__(self, size: int, clock: Clock) -> None:
        self._size, self._clock, self._lock = size, clock, threading.Lock()
        self._found: OrderedDict[Key, tuple[Value, float]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Returns the value, or None without one, and after its time."""
        with self._lock:
            found = self._found.get(key)
            if found is None or self._clock() >= found[1]:
                self._found.pop(key, None)
                return None
            self._found.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, seconds: float) -> None:
        """Keeps a value for some seconds."""
        with self._lock:
            self._found[key] = value, self._clock() + seconds
            self._found.move_to_end(key)
            while len(self._found) > self._size:
                self._found.popitem(last=False)

    def __len__(self) -> int:
        return len(self._found)


class Viewers:
    """What the holders of tokens may see.

    threads: run the reviews of one viewer beside each other; without them, one after another.
    """

    def __init__(
        self, authority: Authority, clock: Clock = time.monotonic, threads: Executor | None = None
    ) -> None:
        self._authority, self._threads = authority, threads
        self._identities = Kept[bytes, tuple[Identity | None]](_TOKENS, clock)
        self._rights = Kept[tuple[Identity, Right], bool](_RIGHTS, clock)

    def identity(self, token: str) -> Identity:
        """Returns whose token it is. Raises UnauthenticatedError, UnavailableError."""
        key = hashlib.sha256(token.encode()).digest()
        known = self._identities.get(key)
        if known is None:
            known = (self._authority.review(token),)
            self._identities.put(key, known, INVALID if known[0] is None else FRESH)
        if known[0] is None:
            raise UnauthenticatedError(
                "authorization: the API server does not accept the token: create another with "
                "`kubectl create token NAME`"
            )
        return known[0]

    def sight(self, token: str, namespaces: Iterable[str]) -> Sight:
        """Returns what the holder of a token may see of these namespaces.

        Raises UnauthenticatedError, UnavailableError. Cost: up to three reviews a minute for each namespace;
        three in all for a viewer of the whole cluster.
        """
        who, wanted = self.identity(token), sorted(set(namespaces))
        everywhere = self._all(who, [Right(resource) for resource in NAMESPACED])
        seen = wanted if everywhere else self._seen(who, wanted)
        return Sight(who.name, frozenset(seen), self._all(who, POOLS), self._all(who, TENANTS))

    def _seen(self, who: Identity, namespaces: Sequence[str]) -> list[str]:
        def allowed(namespace: str) -> bool:
            return self._all(who, [Right(resource, namespace) for resource in NAMESPACED])

        verdicts = (map if self._threads is None else self._threads.map)(allowed, namespaces)
        return [name for name, is_seen in zip(namespaces, verdicts, strict=True) if is_seen]

    def _all(self, who: Identity, rights: Iterable[Right]) -> bool:
        return all(self._allowed(who, right) for right in rights)

    def _allowed(self, who: Identity, right: Right) -> bool:
        known = self._rights.get((who, right))
        if known is None:
            known = self._authority.allows(who, right)
            self._rights.put((who, right), known, FRESH)
        return known
