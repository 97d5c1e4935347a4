"""The folder of a node's cache: blobs by digest, who may read them, and a bound on their size. Blocking.

`blobs/HEX` are the bytes, whose modification time is that of their last use. `readers/HEX/NAMESPACE` is an
empty file for each namespace that the model store let read them. Both survive a restart. Blobs are checked
when they are read, so they need not be flushed when they are written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from edge_runtime.errors import DiskFull, TooLarge
from edge_runtime.store.blobs import check_digest

_AT_ONCE: Final = 1 << 20

Free = Callable[[Path], int]
"""Returns the free bytes of the file system of a folder."""


def free_bytes(folder: Path) -> int:
    """Returns the bytes of a file system that are left for this process."""
    return shutil.disk_usage(folder).free


class CacheFolder:
    """Blobs of at most `limit` bytes in total. The least recently used are evicted.

    kept_free: bytes of the file system that the cache leaves free. evicted: called for each blob that makes
    room for others. One process owns the folder; its methods are called from one thread, except `whole`.
    """

    def __init__(
        self,
        root: Path,
        limit: int,
        kept_free: int = 0,
        evicted: Callable[[], None] = lambda: None,
        free: Free = free_bytes,
    ) -> None:
        self._root, self.limit, self._kept_free = root, limit, kept_free
        self._evicted, self._free = evicted, free
        for name in ("blobs", "readers", "incoming"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for path in (root / "incoming").iterdir():  # of a process that was killed
            path.unlink()
        self._sizes = _found(root / "blobs")
        self._used, self._reserved = sum(self._sizes.values()), 0
        for folder in (root / "readers").iterdir():
            if folder.name not in self._sizes:
                shutil.rmtree(folder, ignore_errors=True)
        self._make_room(0)  # the limit can be lower than before

    @property
    def used(self) -> int:
        """Bytes of all blobs."""
        return self._used

    def __contains__(self, digest: str) -> bool:
        return _name(digest) in self._sizes

    def size(self, digest: str) -> int | None:
        """Returns the size of a blob in bytes; None if it is missing."""
        return self._sizes.get(_name(digest))

    def admits(self, digest: str, namespace: str | None) -> bool:
        """Whether the model store has let a namespace read a blob. None: the store requires no tokens."""
        return namespace is None or (self._readers(digest) / namespace).is_file()

    def admit(self, digest: str, namespace: str | None) -> None:
        """Remembers that a namespace may read a blob that the folder has."""
        if namespace is not None and digest in self:
            folder = self._readers(digest)
            folder.mkdir(exist_ok=True)
            (folder / namespace).touch()

    def opened(self, digest: str) -> IO[bytes] | None:
        """Opens a blob, which counts as its use; None if it is missing."""
        name = _name(digest)
        if name not in self._sizes:
            return None
        try:
            file = (self._root / "blobs" / name).open("rb", buffering=0)
        except OSError:
            self.remove(digest)
            return None
        self._sizes.move_to_end(name)
        with contextlib.suppress(OSError):
            os.utime(file.fileno())
        return file

    @staticmethod
    def whole(file: IO[bytes], digest: str) -> bool:
        """Whether an open file has a digest. Its position is the start again."""
        found, part = hashlib.sha256(), bytearray(_AT_ONCE)
        try:
            with memoryview(part) as view:
                while count := os.readv(file.fileno(), [view]):
                    found.update(view[:count])
            file.seek(0)
        except OSError:  # of a failing disk
            return False
        return f"sha256:{found.hexdigest()}" == digest

    def remove(self, digest: str) -> None:
        """Removes a blob and who may read it."""
        self._remove(_name(digest))

    def reserve(self, size: int) -> None:
        """Makes room for a blob of a size, which `add` or `release` end.

        Raises TooLarge above the limit, and DiskFull if the disk, or the blobs that are being received, leave
        no room.
        """
        if size > self.limit:
            raise TooLarge(
                f"digest: the blob has {size} bytes and the node's cache keeps at most {self.limit}: raise "
                "--size (chart value nodeCache.size), or read it from the model store"
            )
        if not self._make_room(size):
            raise DiskFull(
                f"digest: the blob has {size} bytes, and the disk of the node's cache has no room: free "
                "some, or lower --keep-free (chart value nodeCache.keepFree)"
            )
        self._reserved += size

    def release(self, size: int) -> None:
        """Ends a reservation without a blob."""
        self._reserved -= size

    def incoming(self) -> tuple[Path, IO[bytes]]:
        """Opens a temporary file."""
        handle, name = tempfile.mkstemp(dir=self._root / "incoming")
        return Path(name), os.fdopen(handle, "wb", buffering=0)

    def add(self, digest: str, path: Path, size: int) -> None:
        """Moves a temporary file with a reservation to its place."""
        name = _name(digest)
        path.replace(self._root / "blobs" / name)
        self.release(size)
        self._used += size - self._sizes.pop(name, 0)
        self._sizes[name] = size

    def _make_room(self, size: int) -> bool:
        """Evicts until a blob fits beside those that are being received. Returns False if it cannot."""
        wanted = self._reserved + size
        if wanted > self.limit or (size and self._spare() + self._used < wanted):
            return False  # evicting all others would not help
        while self._sizes and (self._used + wanted > self.limit or (size and self._spare() < wanted)):
            oldest = next(iter(self._sizes))
            self._evicted()
            self._remove(oldest)
        return True

    def _spare(self) -> int:
        """Bytes that blobs may use beside those that there are."""
        return self._free(self._root) - self._kept_free

    def _remove(self, name: str) -> None:
        self._used -= self._sizes.pop(name, 0)
        (self._root / "blobs" / name).unlink(missing_ok=True)
        shutil.rmtree(self._root / "readers" / name, ignore_errors=True)

    def _readers(self, digest: str) -> Path:
        return self._root / "readers" / _name(digest)


def _name(digest: str) -> str:
    return check_digest(digest).removeprefix("sha256:")


def _found(folder: Path) -> OrderedDict[str, int]:
    """Sizes of the blobs by name, the least recently used first."""
    stats = [(path.name, path.stat()) for path in folder.iterdir()]
    return OrderedDict(
        (name, stat.st_size) for name, stat in sorted(stats, key=lambda each: each[1].st_mtime)
    )
