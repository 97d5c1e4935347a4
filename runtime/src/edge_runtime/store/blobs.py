"""Blobs by digest and files by name on disk, written atomically by a temporary file and a rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakValueDictionary

from edge_api.words import shown
from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, Unreachable
from edge_runtime.store.receiving import Incoming, Progress
from edge_runtime.store.transfers import Transfers

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


_ABANDONED: Final = 86_400.0
_LONGEST_PART: Final = 255
_LONGEST_NAME: Final = 1024
# Includes the replacement for bytes that are not UTF-8: two different names would become one.
_UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Stored:
    """Digest and size in bytes of what was written."""

    digest: str
    size: int


def check_digest(text: object, field: str = "digest") -> str:
    """Returns the digest. Raises BadRequest if it is not one."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise BadRequest(f"{field}: {shown(text)} is not a digest: write sha256: and 64 hexadecimal digits")
    return text


class Blobs:
    """A folder of blobs by digest, into which files are received, with a size limit per item."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        self.transfers = Transfers()
        self._receiving: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        for folder in ("files", "blobs", "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Removes temporary files of a killed store that are older than a day, longer than any transfer."""
        for path in (self.root / "incoming").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def blob_path(self, digest: str) -> Path:
        """Path of a blob, whether it exists or not."""
        return self.root / "blobs" / check_digest(digest).removeprefix("sha256:")

    def read_blob(self, digest: str) -> bytes:
        """Returns a blob after checking its digest. Raises NotFound, or DigestMismatch if it was damaged."""
        path = self.blob_path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"digest: no blob {digest} in this store: PUT it or its model first") from None
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != digest:
            path.unlink(missing_ok=True)
            raise DigestMismatch(
                f"digest: the stored bytes of {digest} are {found}: they were removed, store them again"
            )
        return data

    def check_blob(self, digest: str) -> int:
        """Returns the size of an undamaged blob. Raises like `read_blob`, which removes a damaged one."""
        path = self.blob_path(digest)
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest:
                return os.fstat(file.fileno()).st_size
        return len(self.read_blob(digest))

    def whole_blob(self, digest: str) -> Path:
        """Returns the path of an undamaged blob. Raises like `read_blob`, which removes a damaged one."""
        self.check_blob(digest)
        return self.blob_path(digest)

    @contextlib.contextmanager
    def receive(
        self,
        target: Path | None,
        digest: str | None = None,
        field: str = "digest",
        size: int | None = None,
        *,
        key: str = "",
        said: str = "body",
        progress: Progress | None = None,
    ) -> Iterator[Incoming]:
        """Collects bytes, then moves them to `target` (by default the blob's own path).

        key: of a file that can be received in parts: after a break, what arrived is kept for the next time.
        Everything else leaves nothing behind on failure. said: what it is, for messages.

        Raises DigestMismatch if `digest` is given and differs, and BadRequest if the number of bytes is not
        `size`.
        """
        with self._alone(key):
            incoming = Incoming(self.root / "incoming", self.limit, key, said, progress)
            try:
                yield incoming
                if size is not None and incoming.size != size:
                    raise BadRequest(
                        f"body: {incoming.size} bytes instead of the announced {size}: send it again"
                    )
                if digest is not None and incoming.digest != digest:
                    raise DigestMismatch(
                        f"{field}: expected {digest}, but "
                        f"the {incoming.size} bytes received have {incoming.digest}: "
                        f"correct the digest or the source"
                    )
                self.move(incoming.complete(), target or self.blob_path(incoming.digest))
            except Unreachable:
                incoming.suspend()
                raise
            finally:
                incoming.abandon()

    def move(self, path: Path, final: Path) -> None:
        """Moves a received file to its place. Raises BadRequest if a file or a folder is in the way."""
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            path.replace(final)
            _settle(final.parent)
        except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise BadRequest(
                f"path: {final.relative_to(self.root)} is used by a file or a folder: use another"
            ) from error

    def settle(self, path: Path) -> None:
        """Flushes a file to the disk."""
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def _alone(self, key: str) -> contextlib.AbstractContextManager[object]:
        """Waits until no other thread receives the file of a key."""
        if not key:
            return contextlib.nullcontext()
        return self._receiving.setdefault(key, Lock())

    def put(self, data: bytes, target: Path | None = None) -> Stored:
        """Stores bytes that are already in memory, as a blob or at a path in the folder."""
        with self.receive(target) as incoming:
            incoming.write(data)
        return Stored(incoming.digest, incoming.size)


def named_file(home: Path, name: str) -> Path:
    """Path of a named file in `home`, whether it exists or not.

    Raises BadRequest for an invalid name, or one that leaves the folder.
    """
    parts = name.split("/")
    if _UNNAMEABLE.search(name) or any(part in ("", ".", "..") for part in parts):
        raise BadRequest(
            f"path: {shown(name)} is not a file name: write segments divided by /, none of them empty, . "
            f"or .., in UTF-8 and without control characters"
        )
    if max(len(part.encode()) for part in parts) > _LONGEST_PART or len(name.encode()) > _LONGEST_NAME:
        raise BadRequest(
            f"path: {shown(name)} is too long for a file name: write at most {_LONGEST_PART} bytes "
            f"between two / and {_LONGEST_NAME} in total"
        )
    path = home / Path(*parts)
    if not path.resolve().is_relative_to(home.resolve()):
        raise BadRequest(f"path: {shown(name)} is a link out of the store's folder: PUT the file itself")
    return path


def _settle(folder: Path) -> None:
    """Flushes a folder's new entry to disk, so that an acknowledged write survives a power failure."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
