"""The folder of one service on this node's disk, which a service placed again later may use, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Lock

from edge_runtime.model_store import write_whole


class ServiceFolder:
    """Writes files of a service until it is removed. Blocking; any thread may call it.

    A thread's write cannot be cancelled: without the lock, a late one could bring a removed folder back, or
    replace a file of the next service with the same folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._removed = Lock(), False

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file atomically; does nothing once the folder was removed. Raises OSError."""
        with self._lock:
            if not self._removed:
                write_whole(path, data)

    def remove(self) -> None:
        """Removes the folder, after the write that has begun."""
        with self._lock:
            self._removed = True
            shutil.rmtree(self.path, ignore_errors=True)
