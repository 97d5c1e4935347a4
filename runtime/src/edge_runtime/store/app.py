"""The HTTP API of the model store."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

import orjson

from edge_api.words import shown
from edge_runtime.asgi import Receive, Scope, Send, chunks, parse_json, read_body, respond
from edge_runtime.errors import (
    BadRequest,
    CallerLeft,
    DigestMismatch,
    EdgeError,
    NotFound,
    StorageError,
    TooLarge,
    TooSlow,
    Unreachable,
)
from edge_runtime.http.heads import STATUS
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.metrics import StoreMetrics
from edge_runtime.store.reachable import NOTHING, Reachable

_log = logging.getLogger(__name__)
_DOCUMENT_LIMIT: Final = 8 << 20
_STATUS: Final[dict[type[EdgeError], int]] = {
    EdgeError: 500,
    DigestMismatch: 422,
    NotFound: 404,
    TooLarge: 413,
    Unreachable: 502,
    TooSlow: 408,
    **STATUS,
}
# Headers of a PUT that change the meaning of its body.
_NOT_WHOLE: Final = {
    b"content-range": "send the whole file",
    b"content-encoding": "send the file without encoding",
    **dict.fromkeys(
        (b"if-match", b"if-none-match", b"if-unmodified-since"),
        "send it without; an existing file is replaced",
    ),
}


class StoreApp:
    """A plain ASGI application over a folder."""

    def __init__(self, root: Path, limit: int, allowed: Reachable = NOTHING) -> None:
        self._blobs = Blobs(root, limit)
        self._catalogue = Catalogue(self._blobs, allowed)
        self._metrics = StoreMetrics()

    def close(self) -> None:
        """Ends the current measurement."""
        self._catalogue.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except CallerLeft:
            return
        except EdgeError as error:
            await refuse(send, error)
        except OSError as error:
            _log.exception("%s %s", scope["method"], scope["path"])
            await _say(send, 507, StorageError.__name__, f"the store's disk failed: {error.strerror}")
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            await _say(send, 500, "Failed", "internal error: see the store's log")

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        parts = path.split("/")[1:]
        if parts[:2] == ["v1", "files"]:  # the name can contain slashes
            parts = path.split("/", 3)[1:]
        if parts[:2] not in (["metrics"], ["v1", "health"], ["v1", "probe"]):
            self._metrics.count(method, parts[1] if len(parts) > 1 else "")
        match [method, *parts]:
            case ["GET", "metrics"]:
                kind = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
                await respond(send, 200, self._metrics.text(), [kind])
            case ["GET", "v1", "health", "ready" | "live"]:
                await respond(send, 200, b'{"ready":true}')
            case ["POST", "v1", "probe"]:
                await _sink(receive, send)
            case ["POST", "v1", "models"]:
                request = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                await respond(
                    send, 200, orjson.dumps(await asyncio.to_thread(self._catalogue.add_model, request))
                )
            case ["GET", "v1", "models", digest]:
                await respond(send, 200, orjson.dumps(self._catalogue.model(digest)))
            case ["GET", "v1", "models", digest, "layers"]:
                await respond(
                    send, 200, orjson.dumps(await asyncio.to_thread(self._catalogue.layers, digest))
                )
            case ["POST", "v1", "slices"]:
                request = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                await respond(
                    send, 200, orjson.dumps(await asyncio.to_thread(self._catalogue.add_slice, request))
                )
            case ["POST", "v1", "codecs"]:
                request = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                await respond(
                    send, 200, orjson.dumps(await asyncio.to_thread(self._catalogue.codecs, request))
                )
            case ["PUT", "v1", "files", name]:
                await self._receive(self._blobs.file_path(name), None, scope, receive, send)
            case ["GET", "v1", "files", name]:
                data = await asyncio.to_thread(self._blobs.read_file, name)
                await respond(send, 200, data, [(b"content-type", b"application/octet-stream")])
            case ["PUT", "v1", "blobs", digest]:
                await self._receive(None, check_digest(digest), scope, receive, send)
            case ["GET" | "HEAD", "v1", "blobs", digest]:
                await self._send_blob(method, digest, send)
            case ["PUT", "v1", "profiles", digest, selection, name]:
                profile = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                stored = self._catalogue.put_profile(digest, selection, name, profile)
                await respond(send, 200, orjson.dumps(stored))
            case ["GET", "v1", "profiles", digest, selection, name]:
                await respond(send, 200, self._catalogue.profile(digest, selection, name))
            case _:
                raise NotFound(f"{method} {path}: no such resource: see docs/model-store.md")

    async def _receive(
        self, target: Path | None, digest: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        _check_whole(scope)
        with self._blobs.receive(target, digest, size=_announced(scope)) as incoming:
            async for chunk in chunks(receive):
                incoming.write(chunk)
        await respond(send, 200, orjson.dumps({"digest": incoming.digest, "size": incoming.size}))

    async def _send_blob(self, method: str, digest: str, send: Send) -> None:
        kind = (b"content-type", b"application/octet-stream")
        if method == "GET":
            await respond(send, 200, await asyncio.to_thread(self._blobs.read_blob, digest), [kind])
            return
        path = self._blobs.blob_path(digest)
        size = path.stat().st_size if path.is_file() else None
        headers = [kind, (b"content-length", b"%d" % (size or 0))]
        await send(
            {"type": "http.response.start", "status": 404 if size is None else 200, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b""})


def _announced(scope: Scope) -> int | None:
    """Content length of the body, if given."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)


def _check_whole(scope: Scope) -> None:
    """Raises BadRequest for a PUT whose body is not exactly the content to store."""
    headers = dict(scope["headers"])
    for name, fix in _NOT_WHOLE.items():
        if name in headers and headers[name].lower() != b"identity":
            value = shown(headers[name].decode("latin-1"))
            raise BadRequest(f"{name.decode()}: {value} is not supported: {fix}")
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        raise BadRequest("body: missing: send the file, or content-length: 0 to store an empty one")


async def _sink(receive: Receive, send: Send) -> None:
    """Reads and discards a probe. The time from its first to its last byte is the link's, independent of the
    sender.

    `first` is the number of bytes in the first read, for which no time was measured.
    """
    size, opening, first, last = 0, 0, 0.0, 0.0
    async for chunk in chunks(receive):
        last = time.perf_counter()
        if not size:
            first, opening = last, len(chunk)
        size += len(chunk)
    await respond(send, 200, orjson.dumps({"bytes": size, "seconds": last - first, "first": opening}))


async def refuse(send: Send, error: EdgeError) -> None:
    """Responds with an error's status, reason and message."""
    await _say(send, _STATUS.get(type(error), 400), error.reason, str(error))


async def _say(send: Send, status: int, reason: str, message: str) -> None:
    await respond(send, status, orjson.dumps({"error": {"reason": reason, "message": message}}))
