"""Files that are being received: counted, bounded by the disk, and continued after a break. Blocking.

What arrived of a file stays under `incoming` for a day. The name tells which file it is of (the key) and
which version of it: bytes of two versions are never joined.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Protocol

from edge_runtime.errors import DiskFull, TooLarge

_CHUNK: Final = 1 << 20
_KEPT: Final = 1 << 20
"""Fewer bytes are not worth keeping after a break."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that arrived, and with the size of the file if it is known."""


class Receiver(Protocol):
    """What a source passes a file to."""

    def begin(self, size: int | None, version: str = "") -> int:
        """Returns the offset from which the bytes are wanted. Called again after a break.

        size: of the whole file; None if it is not known. version: differs if the bytes do, as an ETag does;
        empty if it is not known, and the file is then wanted from its start. Raises TooLarge and DiskFull.
        """

    def write(self, chunk: bytes) -> None:
        """Appends bytes. Raises TooLarge above the limit."""


class Incoming:
    """A `Receiver` into a folder. Its bytes are hashed as they arrive."""

    def __init__(
        self, folder: Path, limit: int, key: str = "", said: str = "body", progress: Progress | None = None
    ) -> None:
        self._folder, self._limit, self._said = folder, limit, said
        self._key = hashlib.sha256(key.encode()).hexdigest() if key else ""
        self._progress = progress
        self._file: IO[bytes] | None = None
        self._path = folder
        self._whole: int | None = None
        self._version = ""
        self._hash, self.size = hashlib.sha256(), 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def begin(self, size: int | None, version: str = "") -> int:
        """Opens the file, with what arrived of this version before. See `Receiver`."""
        if self._file is None or not version or version != self._version:
            self.abandon()
            self._open(version)
        if size is not None:
            if size > self._limit:
                raise self._too_large()
            check_room(self._folder, size - self.size, self._said)
        self._whole = size
        self._tell()
        return self.size

    def write(self, chunk: bytes) -> None:
        """Appends bytes. Raises TooLarge above the limit."""
        file = self._opened()
        self.size += len(chunk)
        if self.size > self._limit:
            raise self._too_large()
        self._hash.update(chunk)
        file.write(chunk)
        self._tell()

    def complete(self) -> Path:
        """Flushes the bytes to the disk. Returns the path of the file, which the caller moves."""
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        return self._path

    def suspend(self) -> None:
        """Keeps what arrived for a later `begin`, if that can tell the version of the file."""
        if self._file is None or not self._key or not self._version or self.size < _KEPT:
            self.abandon()
        else:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        """Removes what arrived."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # of bytes that were still to be written
                self._file.close()
            self._path.unlink(missing_ok=True)
        self._file = None

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._open("")
        assert self._file is not None
        return self._file

    def _open(self, version: str) -> None:
        self._version, self._hash, self.size = version, hashlib.sha256(), 0
        if not self._key or not version:
            handle, name = tempfile.mkstemp(dir=self._folder)
            self._path, self._file = Path(name), os.fdopen(handle, "wb")
            return
        path = self._folder / f"{self._key}.{hashlib.sha256(version.encode()).hexdigest()[:16]}"
        for other in self._folder.glob(f"{self._key}.*"):
            if other != path:
                other.unlink(missing_ok=True)
        self._path, self._file = path, path.open("ab")
        with path.open("rb") as arrived:
            while chunk := arrived.read(_CHUNK):
                self._hash.update(chunk)
                self.size += len(chunk)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.size, self._whole)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"{self._said}: larger than {self._limit} bytes: raise --max-bytes of the store or send less"
        )


def check_room(folder: Path, needed: int, said: str) -> None:
    """Raises DiskFull, beginning with `said`, if the disk of a folder has not as many bytes left."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"{said}: {needed} bytes are needed, but the model store's disk has {free} free: enlarge its "
            "volume (chart value store.persistence.size), or remove files that no service uses"
        )
