"""Blobs that are on their way from the model store: each once, whatever the number of its readers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

from edge_runtime.errors import DigestMismatch, DiskFull, EdgeError, StorageError, Unreachable
from edge_runtime.node_cache.folder import CacheFolder
from edge_runtime.node_cache.upstream import Upstream

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 1 << 18


class Download:
    """A blob of `size` bytes, of which some have arrived in a temporary file.

    admitted: the namespaces that the store lets read it.
    """

    def __init__(self, digest: str, size: int, path: Path, file: IO[bytes]) -> None:
        self.digest, self.size, self.admitted = digest, size, set[str | None]()
        self._path, self._file = path, file
        self._hash, self._received = hashlib.sha256(), 0
        self._arrived = asyncio.Event()
        self._added = False
        self._failure: EdgeError | None = None
        self._disk: OSError | None = None

    def follow(self) -> AsyncIterator[bytes]:
        """Returns the parts of the blob as they arrive, the last byte once the digest of all is right.

        Raises the error with which the download ends.
        """
        return self._parts(self._path.open("rb", buffering=0))

    async def _parts(self, file: IO[bytes]) -> AsyncIterator[bytes]:
        sent = 0
        with file:
            while sent < self.size:
                arrived = self._arrived
                ready = self.size if self._added else min(self._received, self.size - 1)
                if part := file.read(min(_AT_ONCE, ready - sent)):
                    sent += len(part)
                    yield part
                elif self._failure is not None:
                    raise self._failure
                elif self._added:
                    raise StorageError(f"digest: the file of {self.digest} has become shorter: try again")
                else:
                    await arrived.wait()

    def take(self, part: bytes) -> None:
        """Appends bytes. Raises an error if they cannot be written, or are more than announced."""
        left = memoryview(part)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._disk = error
            raise
        self._received += len(part)
        if self._received > self.size:
            raise ValueError
        self._hash.update(part)
        self._tell()

    async def run(self, upstream: Upstream, token: str, folder: CacheFolder) -> None:
        """Receives the blob and adds it to the folder. Readers learn of an error; nothing is raised."""
        try:
            with self._file:
                await upstream.read(self.digest, token, self.take)
            if (found := f"sha256:{self._hash.hexdigest()}") != self.digest:
                raise DigestMismatch(
                    f"digest: requested {self.digest}, but the {self._received} bytes of the model store "
                    f"have {found}: try again"
                )
            folder.add(self.digest, self._path, self.size)
            self._added = True
            for namespace in self.admitted:
                folder.admit(self.digest, namespace)
        except OSError as error:
            self._failure = _full(error)
        except EdgeError as error:
            self._failure = _full(self._disk) if self._disk is not None else error
        except asyncio.CancelledError:
            self._failure = Unreachable("the node's cache is shutting down: read from the model store")
            raise
        finally:
            if not self._added:
                folder.release(self.size)
                self._path.unlink(missing_ok=True)
                self._failure = self._failure or StorageError("internal error: see the log of the cache")
            self._tell()

    @property
    def failure(self) -> EdgeError | None:
        """The error with which it ended."""
        return self._failure

    def _tell(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()


class Downloads:
    """The downloads under way by digest. They continue if their readers leave, and end with `close`.

    received: called with the size of each blob that has arrived. failed: with the error of one that has not.
    """

    def __init__(
        self,
        folder: CacheFolder,
        upstream: Upstream,
        received: Callable[[int], None],
        failed: Callable[[EdgeError], None],
    ) -> None:
        self._folder, self._upstream = folder, upstream
        self._received, self._failed = received, failed
        self._running: dict[str, tuple[Download, asyncio.Task[None]]] = {}

    def find(self, digest: str) -> Download | None:
        """Returns the download of a blob, if it is under way."""
        found = self._running.get(digest)
        return None if found is None else found[0]

    def begin(self, digest: str, size: int, token: str) -> Download:
        """Starts a download. Raises TooLarge and DiskFull if the folder has no room for the blob."""
        self._folder.reserve(size)
        try:
            download = Download(digest, size, *self._folder.incoming())
        except OSError as error:
            self._folder.release(size)
            raise _full(error) from error
        self._running[digest] = download, asyncio.create_task(self._run(download, token))
        return download

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._upstream.close()

    async def _run(self, download: Download, token: str) -> None:
        try:
            await download.run(self._upstream, token, self._folder)
        except Exception:
            _log.exception("download of %s", download.digest)
        finally:
            del self._running[download.digest]
            if download.failure is None:
                self._received(download.size)
            else:
                self._failed(download.failure)


def _full(error: OSError) -> DiskFull:
    return DiskFull(
        f"the disk of the node's cache failed ({error.strerror}): free some of it, or mend it; blobs are "
        "read from the model store"
    )
