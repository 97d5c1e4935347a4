"""What the store receives now, and how much of it has arrived."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_runtime.store.receiving import Progress


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file: its address, the bytes that arrived, and its size if it is known."""

    source: str
    received: int
    size: int | None

    def document(self) -> dict[str, Any]:
        """The transfer as JSON."""
        return {"source": self.source, "received": self.received, "size": self.size}


class Transfers:
    """The downloads under way, by namespace and address. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[tuple[str | None, str], Transfer] = {}

    @contextlib.contextmanager
    def of(self, namespace: str | None, source: str) -> Iterator[Progress]:
        """Notes a download until the end of the block. Yields what tells of its progress."""
        key = (namespace, source)

        def progress(received: int, size: int | None) -> None:
            with self._lock:
                self._running[key] = Transfer(source, received, size)

        progress(0, None)
        try:
            yield progress
        finally:
            with self._lock:
                self._running.pop(key, None)

    def listed(self, namespace: str | None) -> list[Transfer]:
        """Returns the downloads for a namespace; None: of a store without tokens."""
        with self._lock:
            return [transfer for (owner, _), transfer in self._running.items() if owner == namespace]
