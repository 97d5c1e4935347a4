"""The HTTP API of the model store."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from edge_api.words import shown
from edge_runtime.asgi import Receive, Scope, Send, chunks, parse_json, read_body, respond
from edge_runtime.errors import BadRequest, CallerLeft, DiskFull, EdgeError, Forbidden, NotFound, StorageError
from edge_runtime.probe_sink import receive_probe
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.callers import Caller, Callers, Everybody
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.fetches import Fetches
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.metrics import DEFECT, DISK, StoreMetrics
from edge_runtime.store.reachable import NOTHING, Reachable
from edge_runtime.store.refusals import refuse, refuse_with
from edge_runtime.store.uploads import Uploads

_log = logging.getLogger(__name__)
_DOCUMENT_LIMIT: Final = 8 << 20
_BYTES: Final = (b"content-type", b"application/octet-stream")
_AT_ONCE: Final = 1 << 20
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
    """A plain ASGI application over a folder. callers: tells who sends a request."""

    def __init__(
        self, root: Path, limit: int, allowed: Reachable = NOTHING, callers: Callers | None = None
    ) -> None:
        self._callers = callers or Everybody()
        self._blobs = Blobs(root, limit)
        self._catalogue = Catalogue(self._blobs, allowed)
        self._fetches = Fetches()
        self._uploads = Uploads(self._blobs)
        self.metrics = StoreMetrics(partial(shutil.disk_usage, root))

    def close(self) -> None:
        """Ends the current measurement, and begins no further fetch."""
        self._fetches.close()
        self._catalogue.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except CallerLeft:
            return
        except EdgeError as error:
            if isinstance(error, DiskFull):
                self.metrics.failure(DISK)
            await refuse(send, error)
        except OSError as error:
            _log.exception("%s %s", scope["method"], scope["path"])
            self.metrics.failure(DISK)
            await refuse_with(send, 507, StorageError.__name__, f"the store's disk failed: {error.strerror}")
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            self.metrics.failure(DEFECT)
            await refuse_with(send, 500, "Failed", "internal error: see the store's log")

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        parts = path.split("/")[1:]
        if parts[:2] == ["v1", "files"]:  # the name can contain slashes
            parts = path.split("/", 3)[1:]
        match [method, *parts]:
            case ["GET", "metrics"]:
                kind = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
                await respond(send, 200, self.metrics.text(), [kind])
            case ["GET", "v1", "health", "ready" | "live"]:
                await respond(send, 200, b'{"ready":true}')
            case ["POST", "v1", "probe"]:
                await receive_probe(receive, send)
            case _:
                self.metrics.count(method, parts[1] if len(parts) > 1 else "")
                caller = await self._callers.caller(scope["headers"])
                holdings = Holdings(self._blobs, caller.namespace, caller.inherits)
                if method == "GET" or method == "HEAD":
                    await self._show(method, parts, holdings, send)
                else:
                    await self._change([method, *parts], caller, holdings, scope, receive, send)

    async def _show(self, method: str, parts: Sequence[str], holdings: Holdings, send: Send) -> None:
        match [method, *parts]:
            case ["GET", "v1", "models", digest]:
                found = await asyncio.to_thread(self._catalogue.model, digest, holdings)
                await respond(send, 200, orjson.dumps(found))
            case ["GET", "v1", "models", digest, "layers"]:
                found = await asyncio.to_thread(self._catalogue.layers, digest, holdings)
                await respond(send, 200, orjson.dumps(found))
            case ["GET", "v1", "files"]:
                found = await asyncio.to_thread(_listing, holdings)
                await respond(send, 200, orjson.dumps(found))
            case ["GET", "v1", "transfers"]:
                found = await asyncio.to_thread(self._transfers, holdings)
                await respond(send, 200, orjson.dumps(found))
            case ["GET", "v1", "uploads", upload_id]:
                await respond(send, 200, orjson.dumps(self._uploads.find(upload_id, holdings).document()))
            case ["GET", "v1", "files", name]:
                await _send_file(send, await asyncio.to_thread(holdings.found_file, name))
            case ["GET", "v1", "blobs", digest]:
                await _send_file(send, await asyncio.to_thread(holdings.whole_blob, digest))
            case ["HEAD", "v1", "blobs", digest]:
                path = self._blobs.blob_path(digest)
                held = holdings.holds(digest) and path.is_file()
                size = (b"content-length", b"%d" % (path.stat().st_size if held else 0))
                status = 200 if held else 404
                await send({"type": "http.response.start", "status": status, "headers": [_BYTES, size]})
                await send({"type": "http.response.body", "body": b""})
            case ["GET", "v1", "profiles", digest, selection, name]:
                await respond(send, 200, self._catalogue.profile(digest, selection, name, holdings))
            case ["GET", "v1", "estimates", digest, selection, name]:
                found = await asyncio.to_thread(self._catalogue.estimate, digest, selection, name, holdings)
                await respond(send, 200, orjson.dumps(found))
            case _:
                raise _no_such_resource(method, parts)

    async def _change(
        self,
        request: Sequence[str],
        caller: Caller,
        holdings: Holdings,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        match request:
            case ["POST", "v1", "slices"]:
                asked = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                made = await asyncio.to_thread(self._catalogue.add_slice, asked, holdings)
                await respond(send, 200, orjson.dumps(made))
            case ["POST", "v1", "models" | "codecs" as resource]:
                _check_writes(caller, f"POST /v1/{resource}")
                add = self._catalogue.add_model if resource == "models" else self._catalogue.codecs
                asked = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                added = await self._fetches.run(caller.namespace, add, asked, holdings)
                await respond(send, 200, orjson.dumps(added))
            case ["PUT", "v1", "files", name]:
                _check_writes(caller, "PUT /v1/files")
                await self._receive(holdings.file_path(name), None, holdings, scope, receive, send)
            case ["POST" | "PATCH", "v1", "uploads", *_]:
                _check_writes(caller, "POST /v1/uploads")
                await self._upload(request, holdings, scope, receive, send)
            case ["PUT", "v1", "blobs", digest]:
                _check_writes(caller, "PUT /v1/blobs")
                await self._receive(None, check_digest(digest), holdings, scope, receive, send)
            case ["PUT", "v1", "profiles", digest, selection, name]:
                if not caller.measures:
                    raise Forbidden(
                        "PUT /v1/profiles: namespaces share profiles, so only accounts that the store names "
                        "with --profiler-account may store them: use a token of one"
                    )
                profile = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                stored = self._catalogue.put_profile(digest, selection, name, profile)
                await respond(send, 200, orjson.dumps(stored))
            case [method, *parts]:
                raise _no_such_resource(method, parts)

    async def _upload(
        self, request: Sequence[str], holdings: Holdings, scope: Scope, receive: Receive, send: Send
    ) -> None:
        match request:
            case ["POST", "v1", "uploads"]:
                asked = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                found = await asyncio.to_thread(self._uploads.begin, asked, holdings)
            case ["POST", "v1", "uploads", upload_id]:
                asked = parse_json(await read_body(receive, _DOCUMENT_LIMIT))
                digest = asked.get("digest") if isinstance(asked, dict) else None
                upload = self._uploads.find(upload_id, holdings)
                stored = await asyncio.to_thread(self._uploads.complete, upload, digest, holdings)
                found = {"digest": stored.digest, "size": stored.size}
            case ["PATCH", "v1", "uploads", upload_id]:
                upload = self._uploads.find(upload_id, holdings)
                self._uploads.begin_part(upload, _offset(scope))
                try:
                    async for chunk in chunks(receive):
                        await asyncio.to_thread(self._uploads.append, upload, chunk)
                finally:
                    self._uploads.end_part(upload)
                found = upload.document()
            case [method, *parts]:
                raise _no_such_resource(method, parts)
        await respond(send, 200, orjson.dumps(found))

    def _transfers(self, holdings: Holdings) -> dict[str, Any]:
        """The downloads and uploads of a namespace that are under way."""
        running = [*self._blobs.transfers.listed(holdings.namespace), *self._uploads.listed(holdings)]
        return {"transfers": [transfer.document() for transfer in running]}

    async def _receive(
        self,
        target: Path | None,
        digest: str | None,
        holdings: Holdings,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        _check_whole(scope)
        size = _announced(scope)
        with self._blobs.receive(target, digest, size=size) as incoming:
            incoming.begin(size)
            async for chunk in chunks(receive):
                incoming.write(chunk)
        if digest is not None:
            holdings.keep(digest)
        await respond(send, 200, orjson.dumps({"digest": incoming.digest, "size": incoming.size}))


def _no_such_resource(method: str, parts: Sequence[str]) -> NotFound:
    return NotFound(f"{method} /{'/'.join(parts)}: no such resource: see docs/model-store.md")


def _check_writes(caller: Caller, what: str) -> None:
    """Raises Forbidden for callers that only read, as runtimes do."""
    if not caller.writes:
        raise Forbidden(
            f"{what}: the token's account may only read: use a ServiceAccount of the namespace whose name "
            "neither begins with edge-runtime- nor ends in -runtime; the operator's also needs "
            "X-Edge-Namespace"
        )


def _listing(holdings: Holdings) -> dict[str, Any]:
    """Names and sizes in bytes of a namespace's files."""
    names = holdings.file_names()
    sizes = [holdings.file_path(name).stat().st_size for name in names]
    return {"files": [{"name": name, "size": size} for name, size in zip(names, sizes, strict=True)]}


def _offset(scope: Scope) -> int:
    """Returns the header that says which bytes a part has. Raises BadRequest without it."""
    value = dict(scope["headers"]).get(b"upload-offset", b"").decode("latin-1")
    if not (value.isascii() and value.isdecimal()):
        raise BadRequest(f"upload-offset: {shown(value)} is not a number of bytes: send that of the part")
    return int(value)


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


async def _send_file(send: Send, path: Path) -> None:
    """Sends a file with little memory, whatever its size and the number of its readers."""
    with await asyncio.to_thread(path.open, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = (b"content-length", b"%d" % size)
        await send({"type": "http.response.start", "status": 200, "headers": [_BYTES, length]})
        while size > 0:
            part = await asyncio.to_thread(file.read, min(size, _AT_ONCE))
            if not part:
                raise OSError(f"{path.name} has become shorter")
            size -= len(part)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
