"""Keeps a mirror of the cluster: one thread lists and watches each kind."""

import logging
import random
import threading
from collections.abc import Callable
from typing import Final, Protocol

from edge_console.api_server import Expired, Listed
from edge_console.errors import UnavailableError
from edge_operator.cluster import Kind, Object
from edge_operator.explaining.replanning import READ
from edge_operator.observed.mirror import Mirror, key_of

_RETRY_SECONDS: Final = (1.0, 30.0)
_PAUSE_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


class Server(Protocol):
    """Lists and watches. Raises UnavailableError, and Expired from a watch."""

    def objects(self, kind: Kind, namespace: str | None) -> Listed: ...
    def watch(self, kind: Kind, namespace: str | None, version: str) -> "Events": ...


class Events(Protocol):
    """Changes as (type, object)."""

    def __iter__(self) -> "Events": ...
    def __next__(self) -> tuple[str, Object]: ...


class Watching:
    """The mirror of the kinds that plans are made from, and whether all of them were read."""

    def __init__(self, server: Server, scope: str | None = None) -> None:
        """scope: the only namespace to watch; None: all."""
        self.mirror = Mirror()
        self._server, self._scope = server, scope
        self._missing = {kind.plural for kind in READ}
        self._stopped, self._listeners = threading.Event(), list[Callable[[], None]]()

    def start(self) -> None:
        """Starts the threads, which end with the process."""
        for kind in READ:
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
            except UnavailableError as error:
                version = ""
                _log.warning("%s: %s; again in %.0f s", kind.plural, error, wait)
                self._stopped.wait(wait * (0.5 + random.random() / 2))  # noqa: S311 - spreads retries
                wait = min(2 * wait, _RETRY_SECONDS[1])

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
