"""Keeps a mirror of some kinds of a cluster: one thread lists and watches each kind."""

import logging
import random
import threading
from collections.abc import Callable, Collection
from typing import Final

from edge_operator.cluster import Kind
from edge_operator.errors import ApiUnreachableError
from edge_operator.list_watch import Expired, Lister
from edge_operator.observed.mirror import Mirror, key_of

_RETRY_SECONDS: Final = (1.0, 30.0)
_PAUSE_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Watching:
    """The mirror of some kinds, and whether all of them were read.

    Costs one watch for each kind, and the memory of the mirror.
    """

    def __init__(
        self,
        server: Lister,
        kinds: Collection[Kind],
        scope: str | None = None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        """scope: the only namespace to watch; None: all. jitter: spreads retries, from 0 to 1."""
        self.mirror = Mirror()
        self._server, self._kinds, self._scope = server, tuple(kinds), scope
        # A generator of its own: threads that draw from the shared one disturb those who seed it.
        self._jitter = jitter or random.SystemRandom().random
        self._missing = {kind.plural for kind in kinds}
        self._stopped, self._listeners = threading.Event(), list[Callable[[], None]]()

    def start(self) -> None:
        """Starts the threads, which end with the process."""
        for kind in self._kinds:
            threading.Thread(target=self._run, args=(kind,), name=kind.plural, daemon=True).start()

    def stop(self) -> None:
        """Ends each thread after its current call."""
        self._stopped.set()

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds, by plural, that were not read yet."""
        return tuple(sorted(self._missing))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls the listener after each change, in a thread of its own. It must not block."""
        self._listeners.append(listener)

    def read(self, kind: Kind) -> str:
        """Lists a kind and removes from the mirror what is gone. Returns the version to watch from."""
        listed = self._server.objects(kind, self._scope if kind.namespaced else None)
        there = set()
        for body in listed.items:
            self.mirror.put(kind.kind, body)
            there.add(key_of(kind.kind, body))
        for key in self.mirror.keys(kind.kind) - there:
            gone = self.mirror.get(key.kind, key.namespace, key.name)
            if gone is not None:
                self.mirror.remove(key.kind, gone)
        self._missing.discard(kind.plural)
        self._changed()
        return listed.version

    def follow(self, kind: Kind, version: str) -> str:
        """Applies the changes of one watch. Returns the version to continue from."""
        for event, body in self._server.watch(kind, self._scope if kind.namespaced else None, version):
            version = body["metadata"]["resourceVersion"]
            if event == "BOOKMARK":
                continue
            if event == "DELETED":
                self.mirror.remove(kind.kind, body)
            else:
                self.mirror.put(kind.kind, body)
            self._changed()
        return version

    def _run(self, kind: Kind) -> None:
        version, wait = "", _RETRY_SECONDS[0]
        while not self._stopped.is_set():
            try:
                version = version or self.read(kind)
                before, version = version, self.follow(kind, version)
                wait = _RETRY_SECONDS[0]
                if version == before:  # a proxy may end every watch at once
                    self._stopped.wait(_PAUSE_SECONDS)
            except Expired:
                version = ""
            except ApiUnreachableError as error:
                version = ""
                _log.warning("%s: %s; again in %.0f s", kind.plural, error, wait)
                self._stopped.wait(wait * (0.5 + self._jitter() / 2))
                wait = min(2 * wait, _RETRY_SECONDS[1])

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
