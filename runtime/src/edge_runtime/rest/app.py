"""A plain ASGI application: the protocol's HTTP endpoints and /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Final, ParamSpec, TypeVar

import orjson

from edge_runtime.asgi import (
    AtOnce,
    Header,
    Message,
    Receive,
    Response,
    Scope,
    Send,
    parse_json,
    read_body,
    reply,
    respond,
)
from edge_runtime.errors import (
    BadRequest,
    CallerLeft,
    EdgeError,
    MethodNotAllowed,
    NotFound,
    NotReady,
    TooLarge,
)
from edge_runtime.json_values import Json
from edge_runtime.probe_sink import receive_probe
from edge_runtime.protocol.compression import deflate, inflate
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.protocol.header_layouts import HeaderCache
from edge_runtime.protocol.model_configurations import configuration
from edge_runtime.protocol.repository import Repository, change
from edge_runtime.protocol.requests import HEADER_LENGTH, decode_request
from edge_runtime.rest.bodies import Bodies
from edge_runtime.rest.forwarding import ForwardedRequest, HttpForwarder
from edge_runtime.rest.prompt_inference import PromptInference, encoded, json_length
from edge_runtime.rest.refusals import INTERNAL_ERROR, refusal
from edge_runtime.rest.shared_memory import answer
from edge_runtime.service_nodes import MARKER
from edge_runtime.serving import EXTENSIONS, SERVER, VERSION, Models
from edge_runtime.shared_memory.regions import NO_SHARED_MEMORY, SharedMemory
from edge_runtime.tracing.contexts import NOTHING, carry, current

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_HEADER: Final = HEADER_LENGTH.encode()
_MARKER: Final = MARKER.encode()
_TEXT: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_VARY: Final = (b"vary", b"accept-encoding")
_LONG: Final = 1 << 16  # bytes from which (de)compression would block the event loop for too long
_SMALL: Final = 1 << 12
_DOCUMENT: Final = 1 << 20
_MOST_MODELS: Final = 1024


class RestApp:
    """The HTTP endpoints of the models of a process."""

    def __init__(
        self,
        models: Models,
        exposition: Callable[[], bytes],
        bodies: Bodies | None = None,
        forwarder: HttpForwarder | None = None,
        repository: Repository | None = None,
        memory: SharedMemory = NO_SHARED_MEMORY,
    ) -> None:
        """forwarder: for models that only other nodes serve; without one they are unknown.

        repository: loads and unloads models; without one clients cannot do that. memory: regions that
        clients register.
        """
        self._memory = memory
        self._instance = token_hex(8)
        self._models, self._exposition = models, exposition
        self._header_caches: dict[str, HeaderCache] = {}
        self._bodies, self._forwarder, self._repository = bodies or Bodies(), forwarder, repository

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._models.draining:
            send = _parting(send)
        try:
            await self._route(scope, receive, send)
        except CallerLeft:
            return
        except asyncio.CancelledError:  # the client disconnected, or the grace period is over
            await refuse(send, NotReady("the server is shutting down: send the request to another one"))
        except EdgeError as error:
            await refuse(send, error)
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            await _respond_with(send, INTERNAL_ERROR)

    def at_once(self, method: str, path: str, headers: Sequence[Header]) -> AtOnce | None:
        """How to respond to short inferences with this head; None for anything else."""
        match path.split("/")[1:]:
            case ["v2", "models", model, "infer"] if method == "POST" and self._models.serves(model):
                length = json_length(headers)
                if length is not None:
                    return PromptInference(self._models, model, length, self._header_cache, self._bodies)
        return None

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], tuple(scope["path"].rstrip("/").split("/")[1:])
        match path:
            case ("metrics",):
                _only("GET", method, path)
                await respond(send, 200, self._exposition(), [_TEXT])
            case ("v1", "probe"):
                _only("POST", method, path)
                await receive_probe(receive, send)
            case ("v2", "models", "stats") if not self._models.serves("stats"):
                _only("GET", method, path)
                await respond(send, 200, orjson.dumps({"model_stats": self._models.statistics()}))
            case ("v2", "models", name, *_) if self._forwarder is not None and self._elsewhere(name, scope):
                await self._forward(self._forwarder, scope, receive, send, name)
            case ("v2", "models", name, *version, "infer") if len(version) in (0, 2):
                _only("POST", method, path)
                await self._infer(scope, receive, send, name, _version(version, path))
            case ("v2", "repository", "index"):
                _only("POST", method, path)
                await respond(send, 200, orjson.dumps(self._index(await read_body(receive, _SMALL))))
            case ("v2", "repository", "models", name, "load" | "unload" as verb):
                _only("POST", method, path)
                body = await read_body(receive, _DOCUMENT)
                await change(self._repository, name, verb, parse_json(body) if body else {})
                await respond(send, 200, b"{}")
            case ("v2", "systemsharedmemory" | "cudasharedmemory", *_):
                body = await read_body(receive, _SMALL)
                await respond(send, 200, orjson.dumps(answer(self._memory, method, path[1:], body)))
            case _:
                status, document = self._look_up(path)
                _only("GET", method, path)
                await respond(send, status, orjson.dumps(document))

    def _elsewhere(self, model: str, scope: Scope) -> bool:
        """Whether to forward a request: its model is not served here, and no other node has forwarded it.

        Only methods that a path of a model has: the client does not know that a HEAD has no body in return.
        """
        known = scope["method"] in ("GET", "POST") and not self._models.serves(model)
        return known and all(name != _MARKER for name, _ in scope["headers"])

    async def _forward(
        self, forwarder: HttpForwarder, scope: Scope, receive: Receive, send: Send, model: str
    ) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        carry(scope["headers"])
        sent = await self._bodies.read(receive)
        try:
            path = scope["raw_path"].decode("latin-1")
            request = ForwardedRequest(scope["method"], path, headers, sent)
            status, body, found = await forwarder.send(model, request)
        finally:
            self._bodies.done(sent)
        await reply(send, status, [body], found)

    def _look_up(self, path: tuple[str, ...]) -> tuple[int, Json]:
        """Health, readiness and metadata."""
        models = self._models
        match path:
            case ("v2",):
                return 200, {"name": SERVER, "version": VERSION, "extensions": EXTENSIONS}
            case ("v2", "health", "live"):
                return 200, {"live": True, "instance": self._instance}
            case ("v2", "health", "ready"):
                return 200 if models.ready else 503, {"ready": models.ready}
            case ("v2", "models"):
                return 200, {"models": [entry["name"] for entry in models.index(only_ready=False)]}
            case ("v2", "models", name, *version, "ready") if len(version) in (0, 2):
                models.contract(name, _version(version, path))
                ready = models.model_ready(name, _version(version, path))
                return 200 if ready else 503, {"name": name, "ready": ready}
            case ("v2", "models", name, *version, "config") if len(version) in (0, 2):
                known = models.metadata(name, _version(version, path))
                return 200, configuration(name, known["platform"], models.contract(name))
            case ("v2", "models", name, *version, "stats") if len(version) in (0, 2):
                return 200, {"model_stats": models.statistics(name, _version(version, path))}
            case ("v2", "models", name, *version) if len(version) in (0, 2):
                return 200, models.metadata(name, _version(version, path))
        raise NotFound(f"/{'/'.join(path)[:200]}: not an endpoint of the Open Inference Protocol")

    def _index(self, body: bytes) -> Json:
        wish = parse_json(body) if body else {}
        if not isinstance(wish, dict) or not isinstance(wish.get("ready", False), bool):
            raise BadRequest('body: send a JSON object, empty or {"ready": true}')
        return self._models.index(only_ready=wish.get("ready", False))

    async def _infer(self, scope: Scope, receive: Receive, send: Send, model: str, version: str) -> None:
        self._models.contract(model, version)  # fails before the body is read
        header_length, encoding, accepted, traced = None, "", "", False
        for name, value in scope["headers"]:
            if name == _HEADER:
                header_length = value.decode("latin-1")
            elif name == b"content-length":
                if int(value) > LARGEST_REQUEST:
                    raise TooLarge(
                        f"body: {int(value)} bytes, but the limit is {LARGEST_REQUEST}: send a smaller one"
                    )
            elif name == b"content-encoding":
                encoding += (", " if encoding else "") + value.decode("latin-1")
            elif name == b"accept-encoding":
                accepted = value.decode("latin-1")
            elif name == b"traceparent":
                traced = True
        if traced or current.get() is not NOTHING:  # also resets the context of an earlier request
            carry(scope["headers"])
        sent = await self._bodies.read(receive)
        try:
            body = sent
            if encoding:
                body = await _aside(len(sent), inflate, sent, encoding, LARGEST_REQUEST)
            response = await self._answer(model, version, body, header_length)
            parts, headers = response.parts, list(response.headers)
            if accepted and accepted != "identity":
                parts = await _packed(parts, accepted, headers)
        finally:
            self._bodies.done(sent)
        await reply(send, 200, parts, headers)

    async def _answer(self, model: str, version: str, body: bytes, header_length: str | None) -> Response:
        contract = self._models.contract(model, version)
        decoded = decode_request(body, header_length, contract, self._header_cache(model), self._memory)
        result = await self._models.ask(model, decoded.inference(decoded.parameters.timeout))
        current.get().answered(result.parameters)
        return encoded(model, decoded, contract, result, self._memory)

    def _header_cache(self, model: str) -> HeaderCache:
        found = self._header_caches.get(model)
        if found is None:
            if len(self._header_caches) >= _MOST_MODELS:  # of services and tables that are long gone
                self._header_caches.clear()
            found = self._header_caches[model] = HeaderCache()
        return found


def _parting(send: Send) -> Send:
    """Makes responses close their connection, so that clients do not reuse one to a stopped server."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return told


def _only(wanted: str, method: str, path: tuple[str, ...]) -> None:
    if method != wanted:
        raise MethodNotAllowed(f"{method} /{'/'.join(path)[:200]}: method not allowed: use {wanted}", wanted)


def _version(found: list[str], path: tuple[str, ...]) -> str:
    """The version in a path: `found` is the part between the model and the verb."""
    if not found:
        return ""
    if found[0] != "versions":
        raise NotFound(f"/{'/'.join(path)[:200]}: not an endpoint of the Open Inference Protocol")
    return found[1]


async def _aside(
    size: int, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Runs some work here, or on a thread if there is much of it."""
    return await asyncio.to_thread(work, *arguments, **named) if size > _LONG else work(*arguments, **named)


async def _packed(
    parts: Sequence[bytes | memoryview], accepted: str, headers: list[tuple[bytes, bytes]]
) -> Sequence[bytes | memoryview]:
    """Compresses the body as the client accepts it, and sets the headers accordingly."""
    whole = b"".join(parts)
    packed, name = await _aside(len(whole), deflate, whole, accepted)
    if name is not None:
        headers += [(b"content-encoding", name.encode()), _VARY]
    return [packed]


async def refuse(send: Send, error: EdgeError) -> None:
    """Responds with an error's status and message."""
    await _respond_with(send, refusal(error))


async def _respond_with(send: Send, response: Response) -> None:
    await reply(send, response.status, response.parts, response.headers)
