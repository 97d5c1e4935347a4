"""A bare ASGI application: the protocol's HTTP endpoints and /metrics."""

from __future__ import annotations

import logging
from typing import Final

import orjson

from edge_runtime.asgi import JSON, Receive, Scope, Send, answer, read_body
from edge_runtime.errors import (
    BadRequest,
    CallerLeft,
    CannotAnswer,
    EdgeError,
    NotFound,
    TooLarge,
    UnknownModel,
)
from edge_runtime.metrics import Metrics
from edge_runtime.protocol import HEADER_LENGTH, decode_request, encode_response
from edge_runtime.serving import LARGEST_REQUEST, SERVER, VERSION, Service, parameters_of

_log = logging.getLogger(__name__)
_HEADER: Final = HEADER_LENGTH.encode()
_BINARY: Final = (b"content-type", b"application/octet-stream")
_TEXT: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_STATUS: Final[tuple[tuple[type[EdgeError], int], ...]] = (
    (UnknownModel, 404),
    (NotFound, 404),
    (TooLarge, 413),
    (BadRequest, 400),
    (CannotAnswer, 503),
)


class RestApp:
    """The HTTP face of a service."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics
        self._infer_path = f"/v2/models/{service.name}/infer"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            if scope["path"] == self._infer_path and scope["method"] == "POST":
                await self._infer(scope, receive, send, self._service.name, "")
            else:
                await self._route(scope, receive, send)
        except CallerLeft:
            return
        except EdgeError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            await answer(send, status, orjson.dumps({"error": str(error)}))
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            await answer(send, 500, b'{"error":"the server failed on this request; its log says why"}')

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        match [scope["method"], *scope["path"].rstrip("/").split("/")[1:]]:
            case ["GET", "v2", "health", "live"]:
                await answer(send, 200, b"{}")
            case ["GET", "v2", "health", "ready"]:
                await answer(send, 200 if service.ready else 503, orjson.dumps({"ready": service.ready}))
            case ["GET", "v2"]:
                about = {"name": SERVER, "version": VERSION, "extensions": ["binary_tensor_data"]}
                await answer(send, 200, orjson.dumps(about))
            case ["GET", "metrics"]:
                await answer(send, 200, self._metrics.exposition(), [_TEXT])
            case ["GET", "v2", "models", name] | ["GET", "v2", "models", name, "versions", _] as parts:
                await answer(
                    send, 200, orjson.dumps(service.metadata(name, parts[5] if len(parts) > 4 else ""))
                )
            case ["GET", "v2", "models", name, "ready"]:
                service.table(name)
                await answer(send, 200 if service.ready else 503, b"{}")
            case ["GET", "v2", "models", name, "versions", version, "ready"]:
                service.table(name, version)
                await answer(send, 200 if service.ready else 503, b"{}")
            case ["POST", "v2", "models", name, "infer"]:
                await self._infer(scope, receive, send, name, "")
            case ["POST", "v2", "models", name, "versions", version, "infer"]:
                await self._infer(scope, receive, send, name, version)
            case [method, *_]:
                raise NotFound(f"{method} {scope['path']}: not an endpoint of the Open Inference Protocol")

    async def _infer(self, scope: Scope, receive: Receive, send: Send, model: str, version: str) -> None:
        table = self._service.table(model, version)
        header_length = None
        for name, value in scope["headers"]:
            if name == _HEADER:
                header_length = value.decode("latin-1")
            elif name == b"content-encoding" and value != b"identity":
                raise BadRequest(f"content-encoding: {value[:20]!r} is not read here; send the body as it is")
        body = await read_body(receive, LARGEST_REQUEST)
        request = decode_request(body, header_length, table.inputs, table.output.name)
        result = await self._service.dataplane.infer(request.inputs)
        payload, length = encode_response(
            model, request.id, table.output.name, result.output, parameters_of(result), request.binary
        )
        headers = [JSON] if length is None else [_BINARY, (_HEADER, b"%d" % length)]
        await answer(send, 200, payload, headers)
