"""The HTTP API of a node's cache: blobs by digest, as the model store has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from edge_runtime.asgi import Receive, Scope, Send, respond
from edge_runtime.errors import AccessDenied, BadRequest, DiskFull, EdgeError, NotFound, TooLarge
from edge_runtime.node_cache.downloads import Downloads
from edge_runtime.node_cache.folder import CacheFolder, Free, free_bytes
from edge_runtime.node_cache.metrics import (
    DISK,
    FAILED,
    HIT,
    JOINED,
    MISS,
    PASSED,
    REFUSED,
    STORE,
    CacheMetrics,
)
from edge_runtime.node_cache.upstream import Upstream
from edge_runtime.store.blobs import check_digest
from edge_runtime.store.callers import Callers, Everybody, shown_token
from edge_runtime.store.refusals import refuse, refuse_with

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 1 << 18
_TEXT: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_BYTES: Final = (b"content-type", b"application/octet-stream")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who requests a blob. namespace: None if the model store requires no tokens; then token is empty."""

    namespace: str | None
    token: str


@dataclass(frozen=True, slots=True)
class Blob:
    """What is sent: its size in bytes, its parts, and how the request is counted."""

    size: int
    parts: AsyncIterator[bytes]
    result: str


class NodeCacheApp:
    """A plain ASGI application over a folder.

    A namespace reads a blob only after the model store has let it, with a token of its own; the folder keeps
    that. callers: tells who sends a request; None: the model store requires no tokens.
    """

    def __init__(
        self,
        root: Path,
        limit: int,
        upstream: Upstream,
        callers: Callers | None = None,
        kept_free: int = 0,
        free: Free = free_bytes,
    ) -> None:
        """limit: bytes of all blobs. kept_free: bytes of the disk that blobs leave free."""
        self._callers, self._open = callers or Everybody(), callers is None
        self._upstream = upstream
        self.metrics = CacheMetrics(lambda: self._folder.used, limit)
        self._folder = CacheFolder(root, limit, kept_free, self.metrics.evicted, free)
        self._downloads = Downloads(self._folder, upstream, partial(self.metrics.transferred, STORE), _warn)

    async def close(self) -> None:
        """Ends downloads that are under way."""
        await self._downloads.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match [scope["method"], *scope["path"].split("/")[1:]]:
            case ["GET", "metrics"]:
                await respond(send, 200, self.metrics.text(), [_TEXT])
            case ["GET", "v1", "health", "ready" | "live"]:
                await respond(send, 200, b'{"ready":true}')
            case ["GET", "v1", "blobs", digest]:
                await self._show(digest, scope, send)
            case ["HEAD", "v1", "blobs", digest]:
                await self._tell(digest, scope, send)
            case [method, *parts]:
                said = f"{method} /{'/'.join(parts)}: no such resource: the node's cache has /v1/blobs/DIGEST"
                await refuse(send, NotFound(said))

    async def _show(self, digest: str, scope: Scope, send: Send) -> None:
        try:
            check_digest(digest)
            reader = await self._reader(scope)
            blob = await self._blob(digest, reader)
        except EdgeError as error:
            self.metrics.request(_result(error))
            await refuse(send, error)
            return
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            self.metrics.request(FAILED)
            await refuse_with(send, 500, "Failed", "internal error: see the log of the node's cache")
            return
        self.metrics.request(blob.result)
        length = (b"content-length", b"%d" % blob.size)
        await send({"type": "http.response.start", "status": 200, "headers": [_BYTES, length]})
        try:
            async for part in blob.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                if blob.result == HIT:
                    self.metrics.transferred(DISK, len(part))
        except (EdgeError, OSError) as error:  # the server closes the connection: the client sees the break
            _log.warning("GET /v1/blobs/%s ended early: %s", digest, error)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, digest: str, scope: Scope, send: Send) -> None:
        """Responds with the size of a blob, as the store has it for the caller."""
        try:
            reader = await self._reader(scope)
            size = self._folder.size(check_digest(digest))
            if size is None or not self._folder.admits(digest, reader.namespace):
                size = await self._upstream.size(digest, reader.token)
        except EdgeError as error:
            await refuse(send, error)
            return
        head = [_BYTES, (b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b""})

    async def _reader(self, scope: Scope) -> Reader:
        """Returns who sends a request. Raises like `Callers`."""
        caller = await self._callers.caller(scope["headers"])
        token = "" if self._open else shown_token(dict(scope["headers"]))
        return Reader(caller.namespace, token)

    async def _blob(self, digest: str, reader: Reader) -> Blob:
        """Returns a blob from the disk, or from a download. Raises what the model store refuses with."""
        if (kept := await self._kept(digest, reader)) is not None:
            return kept
        download = self._downloads.find(digest)
        if download is not None and reader.namespace in download.admitted:
            return Blob(download.size, download.follow(), JOINED)
        size = await self._upstream.size(digest, reader.token)
        download = self._downloads.find(digest)
        if download is not None:
            download.admitted.add(reader.namespace)
            return Blob(download.size, download.follow(), JOINED)
        if digest in self._folder:  # it arrived before the store responded
            self._folder.admit(digest, reader.namespace)
            if (kept := await self._kept(digest, reader)) is not None:
                return kept
        download = self._downloads.begin(digest, size, reader.token)
        download.admitted.add(reader.namespace)
        return Blob(size, download.follow(), MISS)

    async def _kept(self, digest: str, reader: Reader) -> Blob | None:
        """Returns a blob from the disk; None if it is missing, or damaged and therefore removed."""
        if digest not in self._folder:
            return None
        if not self._folder.admits(digest, reader.namespace):
            await self._upstream.size(digest, reader.token)
            self._folder.admit(digest, reader.namespace)
        file, size = self._folder.opened(digest), self._folder.size(digest)
        if file is None or size is None:
            return None
        if await asyncio.to_thread(self._folder.whole, file, digest):
            return Blob(size, _parts(file), HIT)
        file.close()
        _log.warning("blob %s on the disk does not have its digest: fetching it again", digest)
        self.metrics.damaged()
        self._folder.remove(digest)
        return None


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while part := await asyncio.to_thread(file.read, _AT_ONCE):
            yield part


def _result(error: EdgeError) -> str:
    if isinstance(error, TooLarge | DiskFull):
        return PASSED
    return REFUSED if isinstance(error, AccessDenied | NotFound | BadRequest) else FAILED


def _warn(error: EdgeError) -> None:
    _log.warning("a blob did not arrive: %s", error)
