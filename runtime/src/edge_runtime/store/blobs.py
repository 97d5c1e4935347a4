"""Bytes on disk: named files and content-addressed blobs, written beside and moved into place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from edge_api.words import shown
from edge_runtime.errors import BadRequest, DigestMismatch, NotFound, TooLarge

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


_ABANDONED: Final = 86_400.0
_LONGEST_PART: Final = 255
_LONGEST_NAME: Final = 1024
# Also what stands for bytes that were no UTF-8: two different names would be one.
_UNNAMEABLE: Final = re.compile(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written: its digest and its size in bytes."""

    digest: str
    size: int


def check_digest(text: object, field: str = "digest") -> str:
    """The digest itself; BadRequest when it is none."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise BadRequest(f"{field}: {shown(text)} is not a digest; write sha256: and 64 hexadecimal digits")
    return text


class Incoming:
    """Bytes on their way in: counted, hashed, and on disk only under a name of their own."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._limit, self._hash, self.size = file, limit, hashlib.sha256(), 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, chunk: bytes) -> None:
        """Appends; TooLarge when the limit is passed."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLarge(
                f"body: more than {self._limit} bytes; raise --max-bytes of the store or send less"
            )
        self._hash.update(chunk)
        self._file.write(chunk)


class Blobs:
    """A folder of blobs by digest and of files by path, bounded per item."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root, self.limit = root, limit
        for folder in ("files", "blobs", "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Removes what a store that was killed had begun to receive; a day is longer than any transfer."""
        for path in (self.root / "incoming").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies or would lie."""
        return self.root / "blobs" / check_digest(digest).removeprefix("sha256:")

    def file_path(self, name: str) -> Path:
        """Where a named file lies or would lie; BadRequest for a name that no file can have, or that leaves
        the folder.
        """
        parts = name.split("/")
        if _UNNAMEABLE.search(name) or any(part in ("", ".", "..") for part in parts):
            raise BadRequest(
                f"path: {shown(name)} is not a file name; write segments divided by /, none of them empty, . "
                f"or .., in UTF-8 and without control characters"
            )
        if max(len(part.encode()) for part in parts) > _LONGEST_PART or len(name.encode()) > _LONGEST_NAME:
            raise BadRequest(
                f"path: {shown(name)} is too long for a file name; write at most {_LONGEST_PART} bytes "
                f"between two / and {_LONGEST_NAME} in all"
            )
        home = self.root / "files"
        path = home / Path(*parts)
        if not path.resolve().is_relative_to(home.resolve()):
            raise BadRequest(f"path: {shown(name)} is a link out of the store's folder; PUT the file itself")
        return path

    def read_blob(self, digest: str) -> bytes:
        """The bytes of a blob, checked; NotFound, or DigestMismatch when the disk changed them."""
        path = self.blob_path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"digest: no blob {digest} in this store; PUT it or its model first") from None
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != digest:
            path.unlink(missing_ok=True)
            raise DigestMismatch(
                f"digest: the stored bytes of {digest} are {found}; they were removed, store them again"
            )
        return data

    def check_blob(self, digest: str) -> int:
        """The size of a blob whose bytes are as they were; else as `read_blob`, which removes it."""
        path = self.blob_path(digest)
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest:
                return os.fstat(file.fileno()).st_size
        return len(self.read_blob(digest))

    def read_file(self, name: str) -> bytes:
        """The bytes of a named file; NotFound when there is none."""
        path = self.file_path(name)
        if not path.is_file():
            raise NotFound(f'path: no file "{name}" in this store; PUT /v1/files/{name} first')
        return path.read_bytes()

    @contextlib.contextmanager
    def receive(
        self,
        target: Path | None,
        digest: str | None = None,
        field: str = "digest",
        size: int | None = None,
    ) -> Iterator[Incoming]:
        """Collects bytes, then moves them to `target` (a blob's own place when None); nothing is left on
        failure.

        DigestMismatch when `digest` is given and the bytes have another; BadRequest when there are more or
        less than `size`.
        """
        handle, name = tempfile.mkstemp(dir=self.root / "incoming")
        try:
            with os.fdopen(handle, "wb") as file:
                incoming = Incoming(file, self.limit)
                yield incoming
                file.flush()
                os.fsync(file.fileno())
            if size is not None and incoming.size != size:
                raise BadRequest(f"body: {incoming.size} bytes came, {size} were announced; send it again")
            if digest is not None and incoming.digest != digest:
                raise DigestMismatch(
                    f"{field}: {digest} was asked for, "
                    f"the {incoming.size} bytes that came are {incoming.digest}; "
                    f"correct the digest or the source"
                )
            final = target or self.blob_path(incoming.digest)
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                Path(name).replace(final)
                _settle(final.parent)
            except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
                raise BadRequest(
                    f"path: {final.relative_to(self.root)} is taken by a file or a folder; use another"
                ) from error
        finally:
            Path(name).unlink(missing_ok=True)

    def put(self, data: bytes, target: Path | None = None) -> Stored:
        """Stores bytes that are already in memory."""
        with self.receive(target) as incoming:
            incoming.write(data)
        return Stored(incoming.digest, incoming.size)


def _settle(folder: Path) -> None:
    """Has the disk keep a folder's new entry, so that what was acknowledged outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
