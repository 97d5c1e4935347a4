"""The client of the model store, and the cache of slices on this node's disk."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import mmap
import os
import ssl
import tempfile
import time
from collections.abc import Collection, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from edge_api.placements import UNENCODED
from edge_runtime.connections import HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed, DigestMismatch, NotFound, StorageError, Unreachable

_log = logging.getLogger(__name__)

Blob = bytes | mmap.mmap

_FETCH: Final = 120.0
_INCOMING: Final = ".incoming-"
_ABANDONED: Final = 600.0
_AT_ONCE: Final = 1 << 20  # bytes of one read: the kernel hands the core to no other thread before its end
_LATER: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)


class BlobSource(Protocol):
    """Where slices come from."""

    async def blob(self, digest: str) -> Blob:
        """Returns the bytes of a blob after checking the digest. Raises StorageError."""


class ModelStore:
    """Client of the model store at `url`. Raises StorageError with the store's message.

    token: a file that each request reads, because the kubelet renews it.
    """

    def __init__(
        self,
        url: str,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        token: Path | None = None,
    ) -> None:
        self._client = HttpClient(url, resolver, tls=tls, size=1)
        self.url, self._token = url, token

    async def reached(self, seconds: float, pause: float = 0.5) -> None:
        """Returns once the store responds. Raises Unreachable if it does not for so many seconds.

        Where NetworkPolicies are enforced, a node's firewall learns the address of a pod after the pod has
        started, and refuses its first connections.
        """
        ends = time.monotonic() + seconds
        while True:
            try:
                await self._call("GET", "/v1/health/ready")
            except Unreachable:
                if time.monotonic() > ends:
                    raise
            else:
                return
            await asyncio.sleep(pause)

    async def blob(self, digest: str) -> Blob:
        """Returns the bytes of a blob after checking the digest, which does not delay requests."""
        parts: list[bytes] = []
        await self._call("GET", f"/v1/blobs/{digest}", parts=parts)
        return await whole(parts, digest, self.url)

    async def slice(
        self, model: str, inputs: Sequence[str], outputs: Sequence[str], decode: str = UNENCODED
    ) -> dict[str, Any]:
        """Has the store cut a slice; returns `{"digest", "size", "inputs", "outputs"}`.

        decode: the codec in which the inputs of the slice arrive.
        """
        request = {"model": model, "inputs": list(inputs), "outputs": list(outputs), "decode": decode}
        made: dict[str, Any] = orjson.loads(await self._call("POST", "/v1/slices", orjson.dumps(request)))
        return made

    async def metadata(self, model: str) -> dict[str, Any]:
        """Returns the metadata of a model that the store holds, with every exit."""
        metadata: dict[str, Any] = orjson.loads(await self._call("GET", f"/v1/models/{model}"))
        return metadata

    async def put_profile(self, profile: dict[str, Any]) -> None:
        """Stores a DeviceProfile."""
        path = "/".join(profile[key] for key in ("model", "selection", "deviceClass"))
        await self._call("PUT", f"/v1/profiles/{path}", orjson.dumps(profile))

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    async def _call(
        self, method: str, path: str, body: bytes = b"", parts: list[bytes] | None = None
    ) -> bytes:
        """Returns the body of a response. With `parts`, it is appended to them, and b"" is returned."""
        sink = None if parts is None else parts.append
        try:
            response = await self._client.request(
                method, path, [body], self.headers(), within=_FETCH, sink=sink
            )
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"model store {self.url}: {str(error) or 'timed out'}") from error
        if response.status == 200:
            return response.body
        said = response.body if parts is None else b"".join(parts)
        try:
            message = orjson.loads(said)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = said[:200].decode("latin-1")
        raise _error_of(response.status)(f"model store {self.url}: {message}")

    def headers(self) -> str:
        """Returns the line of the token, if the store requires one. Raises Unreachable without the file."""
        if self._token is None:
            return ""
        try:
            return f"Authorization: Bearer {self._token.read_text().strip()}\r\n"
        except OSError as error:
            raise Unreachable(
                f"--store-token-file {self._token}: cannot be read ({error.strerror}): mount a "
                "ServiceAccount token"
            ) from error


async def whole(parts: list[bytes], digest: str, url: str) -> Blob:
    """Joins the parts of a blob from `url`, without delaying requests. Raises DigestMismatch."""
    data, found = await asyncio.to_thread(_joined, parts)
    if found != digest:
        raise DigestMismatch(
            f"{url}: requested {digest}, but the {len(data)} bytes received have digest {found}"
        )
    return data


def _error_of(status: int) -> type[StorageError]:
    """The kind of error. What says nothing about the requested model can be requested again."""
    if status == HTTPStatus.NOT_FOUND:
        return NotFound
    later = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER
    return Unreachable if later else StorageError


class SliceCache:
    """Slices on this node's disk, by digest.

    A corrupted slice is fetched again; a cached one needs no network.
    """

    def __init__(self, folder: Path, store: BlobSource) -> None:
        self._folder, self._store = folder, store
        self._fetching: dict[str, asyncio.Task[Blob]] = {}

    def read(self, digest: str) -> mmap.mmap | None:
        """Returns a slice from the disk, for the caller to close; None if it is missing or damaged.

        Blocking, but without the interpreter's lock; closing an mmap also releases the lock, which freeing
        `bytes` would not.
        """
        return _read_whole(self.path(digest), digest)

    def whole(self, digest: str) -> bool:
        """Whether a slice is on the disk undamaged. Blocking, without the interpreter's lock or memory."""
        return _has_digest(self.path(digest), digest)

    def path(self, digest: str) -> Path:
        """Path of a slice, whether it exists or not."""
        return self._folder / digest.removeprefix("sha256:")

    async def fetch(self, digest: str) -> Blob:
        """Fetches a slice from the store and keeps it on the disk. Raises StorageError.

        Several callers that need the same slice wait for one transfer.
        """
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = asyncio.create_task(self._fetch(digest))
            task.add_done_callback(lambda done: _fetched(self._fetching, digest, done))
        return await asyncio.shield(task)

    async def _fetch(self, digest: str) -> Blob:
        data = await self._store.blob(digest)
        path = self.path(digest)
        try:
            await asyncio.to_thread(write_whole, path, data)
        except OSError as error:  # a full or read-only disk costs the cache, not the service
            _log.warning(
                "%s: %s: the slice is not cached and must be fetched again after a restart",
                path,
                error.strerror,
            )
        return data

    def size(self, digest: str) -> int | None:
        """Size of a slice on the disk in bytes; None if it is missing."""
        try:
            return self.path(digest).stat().st_size
        except OSError:
            return None

    def keep_only(self, digests: Collection[str]) -> None:
        """Removes slices that are no longer needed, and leftovers of interrupted writes."""
        with contextlib.suppress(OSError):
            old = time.time() - _ABANDONED
            for path in self._folder.iterdir():
                incoming = path.name.startswith(_INCOMING)
                if path.stat().st_mtime < old if incoming else f"sha256:{path.name}" not in digests:
                    path.unlink(missing_ok=True)


def _fetched(running: dict[str, asyncio.Task[Blob]], digest: str, done: asyncio.Task[Blob]) -> None:
    running.pop(digest, None)
    if not done.cancelled():
        done.exception()  # marks it as read even if every caller has left


def _read_whole(path: Path, digest: str) -> mmap.mmap | None:
    """Returns the content of a file; None if it is missing or does not have the digest.

    It is read, not mapped from the file: a failing disk then raises an error instead of SIGBUS.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return None
            data, filled = _empty(size), 0
            with memoryview(data) as view:
                while filled < size and (count := file.readinto(view[filled : filled + _AT_ONCE])):
                    filled += count
    except OSError:
        return None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
        return data
    data.close()
    return None


def _has_digest(path: Path, digest: str) -> bool:
    found, part = hashlib.sha256(), bytearray(_AT_ONCE)
    try:
        with path.open("rb", buffering=0) as file, memoryview(part) as view:
            while count := file.readinto(view):
                found.update(view[:count])
    except OSError:
        return False
    return f"sha256:{found.hexdigest()}" == digest


def _joined(parts: list[bytes]) -> tuple[Blob, str]:
    """Takes the parts and returns them as one, with its digest.

    Parts leave one by one, because freeing all of them at once would hold the interpreter's lock for long.
    """
    size, digest, at = sum(map(len, parts)), hashlib.sha256(), 0
    data = _empty(size) if size else b""
    parts.reverse()
    while parts:
        part = parts.pop()
        digest.update(part)
        if isinstance(data, mmap.mmap):
            data[at : at + len(part)] = part
        at += len(part)
    return data, f"sha256:{digest.hexdigest()}"


def _empty(size: int) -> mmap.mmap:
    """Memory that is private to this process. Huge pages halve the time to fill and to free it."""
    data = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError, AttributeError):  # a kernel without huge pages, or not Linux
        data.madvise(mmap.MADV_HUGEPAGE)
    return data


def write_whole(path: Path, data: Blob) -> None:
    """Writes atomically, by a temporary file and a rename: readers see the old content or the new one."""
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
