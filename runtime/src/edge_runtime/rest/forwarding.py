"""Forwards HTTP requests for services that only other nodes serve, unchanged and at most once."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from edge_runtime.connections import HttpClient, Resolver, Response
from edge_runtime.errors import BadRequest, ConnectionFailed, DeadlinePassed, NotReady, UnknownModel
from edge_runtime.protocol.parameters import timeout_of
from edge_runtime.protocol.requests import HEADER_LENGTH
from edge_runtime.service_nodes import MARKER, WITHIN, ServiceNodes
from edge_runtime.tracing.contexts import current

_LENGTH: Final = HEADER_LENGTH.lower()
_REQUEST_HEADERS: Final = ("content-type", "content-encoding", "accept-encoding", _LENGTH)
_RESPONSE_HEADERS: Final = ("content-type", "content-encoding", "vary", "retry-after", _LENGTH)


@dataclass(frozen=True, slots=True)
class ForwardedRequest:
    """A request as it was received; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def timeout(self) -> float | None:
        """The timeout in its parameters, in seconds; None without one that can be read here."""
        if self.headers.get("content-encoding", "identity") != "identity":
            return None
        # Any other body than an object with this parameter is for the other node to judge.
        with contextlib.suppress(ValueError, TypeError, LookupError, BadRequest):
            length = self.headers.get(_LENGTH)
            document = orjson.loads(self.body if length is None else self.body[: int(length)])
            return timeout_of(document["parameters"]["timeout"])
        return None


class HttpForwarder:
    """Sends requests to the runtimes of other nodes. url: the URL of the runtime at a node."""

    def __init__(
        self,
        nodes: ServiceNodes,
        url: Callable[[str], str],
        resolver: Resolver,
        tls: ssl.SSLContext | None = None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        """on_end: called with the outcome of each request: `ok`, `late` or `failed`."""
        self._nodes, self._url, self._resolver, self._tls = nodes, url, resolver, tls
        self._on_end = on_end
        self._clients: dict[str, HttpClient] = {}

    async def send(
        self, model: str, request: ForwardedRequest
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Returns status, body and headers of another node's response, within the request's timeout.

        A node that does not know the model has not run anything, so another one is tried. Raises
        UnknownModel if no node serves the model, DeadlinePassed, and NotReady if none can be reached.
        """
        within, loop = request.timeout or WITHIN, asyncio.get_running_loop()
        until = loop.time() + within
        said, unknown = "", None
        async for node in self._nodes.tries(model):
            try:
                response = await self._send_to(node, model, request, until - loop.time())
            except TimeoutError:
                self._on_end("late")
                raise DeadlinePassed(
                    f"model {model}: no response from node {node} within {within:g} s: use a longer timeout "
                    "or retry"
                ) from None
            except ConnectionFailed as error:
                self._nodes.unreachable(node)
                said = f"node {node}: {error}"
                continue
            if response.status == HTTPStatus.NOT_FOUND:
                self._nodes.doubt(model)
                unknown = response
                continue
            return self._ended(response)
        if said:
            self._on_end("failed")
            raise NotReady(f"model {model} is not served here, and another node cannot be reached: {said}")
        if unknown is not None:
            return self._ended(unknown)
        raise UnknownModel(
            f'Request for unknown model "{model[:80]}": no node of the namespace serves it: '
            "request a model of /v2/models, or check kubectl get placements"
        )

    def close(self) -> None:
        """Closes idle connections."""
        for client in self._clients.values():
            client.close()

    def _ended(self, response: Response) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        self._on_end("ok")
        named = [(name, response.headers[name]) for name in _RESPONSE_HEADERS if name in response.headers]
        return response.status, response.body, [(n.encode(), v.encode("latin-1")) for n, v in named]

    async def _send_to(self, node: str, model: str, request: ForwardedRequest, left: float) -> Response:
        url, given = self._url(node), request.headers
        client = self._clients.get(node)
        if client is None or client.url != url:
            if client is not None:
                client.close()
            client = self._clients[node] = HttpClient(url, self._resolver, tls=self._tls)
        kept = "".join(f"{name}: {given[name]}\r\n" for name in _REQUEST_HEADERS if name in given)
        with current.get().hop(url, node, model) as trace:
            lines = f"{kept}{MARKER}: 1\r\n{trace.lines}"
            response = await client.request(
                request.method, request.path, [request.body], lines, within=max(left, 0.0)
            )
            trace.status(response.status)
            return response
