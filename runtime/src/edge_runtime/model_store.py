"""The model store as a client sees it, and the slices kept on this node's disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Collection, Sequence
from mmap import mmap
from pathlib import Path
from typing import Any, Final

import orjson

from edge_api.placements import UNENCODED
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed, DigestMismatch, NotFound, StorageError, Unreachable

_log = logging.getLogger(__name__)

_FETCH: Final = 120.0
_INCOMING: Final = ".incoming-"
_ABANDONED: Final = 600.0


class ModelStore:
    """Reads and writes the model store at `url`; raises StorageError with the store's own sentence."""

    def __init__(self, url: str, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._client = HttpClient(url, resolver, tls=tls, size=1)
        self.url = url

    async def blob(self, digest: str) -> bytes:
        """A blob's bytes, checked."""
        data = await self._call("GET", f"/v1/blobs/{digest}")
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != digest:
            raise DigestMismatch(
                f"{self.url}: asked for {digest}, the {len(data)} bytes that came are {found}"
            )
        return data

    async def slice(
        self, model: str, inputs: Sequence[str], outputs: Sequence[str], decode: str = UNENCODED
    ) -> dict[str, Any]:
        """Has a slice cut; `{"digest", "size", "inputs", "outputs"}`. decode: how its inputs arrive."""
        request = {"model": model, "inputs": list(inputs), "outputs": list(outputs), "decode": decode}
        made: dict[str, Any] = orjson.loads(await self._call("POST", "/v1/slices", orjson.dumps(request)))
        return made

    async def metadata(self, model: str) -> dict[str, Any]:
        """The ModelCard of a model that the store holds, with every exit that was asked for."""
        metadata: dict[str, Any] = orjson.loads(await self._call("GET", f"/v1/models/{model}"))
        return metadata

    async def put_profile(self, model: str, device_class: str, profile: dict[str, Any]) -> None:
        """Keeps a DeviceProfile."""
        await self._call("PUT", f"/v1/profiles/{model}/{device_class}", orjson.dumps(profile))

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        try:
            response = await self._client.request(method, path, [body], within=_FETCH)
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"model store {self.url}: {str(error) or 'no answer in time'}") from error
        if response.status == 200:
            return response.body
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = response.body[:200].decode("latin-1")
        kind = NotFound if response.status == 404 else StorageError
        raise kind(f"model store {self.url}: {message}")


class SliceCache:
    """Slices on this node's disk, by digest: a corrupted one is fetched again, one that is there needs no
    network.
    """

    def __init__(self, folder: Path, store: ModelStore) -> None:
        self._folder, self._store = folder, store

    def read(self, digest: str) -> mmap | None:
        """A slice's bytes from the disk, for the caller to close; None when it is not there or damaged.

        Blocking, but without the interpreter's lock: so does `close`, which freeing `bytes` would not.
        """
        return _read_whole(self.path(digest), digest)

    def path(self, digest: str) -> Path:
        """The file in which a slice lies, where it is on the disk."""
        return self._folder / digest.removeprefix("sha256:")

    async def fetch(self, digest: str) -> bytes:
        """A slice's bytes from the store, which are kept on the disk; raises StorageError."""
        data = await self._store.blob(digest)
        path = self.path(digest)
        try:
            await asyncio.to_thread(write_whole, path, data)
        except OSError as error:  # a full or read-only disk costs the cache, not the service
            _log.warning("%s: %s: this slice is not kept, and gone after a restart", path, error.strerror)
        return data

    def size(self, digest: str) -> int | None:
        """Bytes of a slice that is on the disk; None of one that is not."""
        try:
            return self.path(digest).stat().st_size
        except OSError:
            return None

    def keep_only(self, digests: Collection[str]) -> None:
        """Removes slices that nothing needs any more, and what a broken-off write left."""
        with contextlib.suppress(OSError):
            old = time.time() - _ABANDONED
            for path in self._folder.iterdir():
                incoming = path.name.startswith(_INCOMING)
                if path.stat().st_mtime < old if incoming else f"sha256:{path.name}" not in digests:
                    path.unlink(missing_ok=True)


def _read_whole(path: Path, digest: str) -> mmap | None:
    """The file's bytes; None when they are not there or not those of the digest.

    Read, not mapped from the file: so a failing disk is an error, not the end of the process.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return None
            data, filled = mmap(-1, size), 0
            with memoryview(data) as view:
                while filled < size and (count := file.readinto(view[filled:])):
                    filled += count
    except OSError:
        return None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
        return data
    data.close()
    return None


def write_whole(path: Path, data: bytes) -> None:
    """Writes beside and moves into place: a reader sees the old bytes or the new ones, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_INCOMING)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
