"""The only client of the API server: watches one Placement and writes its status; has tokens reviewed.

The Kubernetes clients cost a throttled node seconds of start-up, so this module implements the four requests
that runtime and model store need.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from edge_runtime.connections import Connection, HttpClient, Resolver, Response
from edge_runtime.errors import ConnectionFailed, NotFound, Unreachable
from edge_runtime.json_values import Json

_log = logging.getLogger(__name__)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_WITHIN: Final = 5.0
_WATCH: Final = 240
_TOKEN_AGE: Final = 60.0
_LONGEST_PAUSE: Final = 10.0
_GROUP: Final = "/apis/edge-intelligence.io/v1alpha1"
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


class ApiServer:
    """Sends requests to the API server with the pod's service account."""

    def __init__(self, url: str, resolver: Resolver, account: Path = ACCOUNT) -> None:
        tls = None
        if url.startswith("https"):
            authority = account / "ca.crt"
            tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        self.client = HttpClient(url, resolver, tls=tls, size=2)
        self._account = account
        self._token, self._token_read = "", -1e9

    async def call(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> Response:
        """Sends one request. Raises Unreachable without a response, and for all but 2xx and 404."""
        headers = f"{self.headers()}Content-Type: {kind}\r\n"
        try:
            response = await self.client.request(method, path, [body], headers, within=_WITHIN)
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"API server {self.client.url}: {str(error) or 'timed out'}") from error
        if response.status >= 300 and response.status != 404:
            said = response.body[:300].decode("utf-8", "replace")
            raise Unreachable(
                f"API server {self.client.url}: {method} {path} returned {response.status} {said}"
            )
        return response

    def headers(self) -> str:
        """Returns the header lines of every request, with the token that the kubelet renews."""
        now = time.monotonic()
        if now - self._token_read > _TOKEN_AGE:
            path = self._account / "token"
            self._token = path.read_text().strip() if path.exists() else ""
            self._token_read = now
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        return f"{bearer}Accept: application/json\r\n"

    def close(self) -> None:
        """Closes idle connections."""
        self.client.close()


def api_server_url(environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns the API server's address from the variables of every pod, or None outside a pod."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host:
        return None
    address = f"[{host}]" if ":" in host else host
    return f"https://{address}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server found about a token. user: empty if the token is not valid; then `why` tells."""

    user: str = ""
    why: str = ""


class TokenReviews:
    """Asks the API server whose tokens are, for one audience."""

    def __init__(self, server: ApiServer, audience: str) -> None:
        self._server, self._audience = server, audience

    async def review(self, token: str) -> Review:
        """Returns the user of a token. Raises Unreachable."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            response = await self._server.call("POST", _REVIEWS, orjson.dumps(asked))
        finally:
            self._server.close()  # reviews are rare: no connection waits for the next
        try:
            status = response.json()["status"]
            if not status.get("authenticated"):
                return Review(why=str(status.get("error") or "the API server does not know it"))
            # An authenticator that knows no audiences leaves them out: its token is for another audience.
            if self._audience not in (status.get("audiences") or ()):
                return Review(why=f"it is not for audience {self._audience}")
            return Review(str(status["user"]["username"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = response.body[:300].decode("utf-8", "replace")
            raise Unreachable(f"API server: response to a TokenReview cannot be read: {said}") from error


class Placements:
    """One Placement in the API server, read and written with the pod's service account."""

    def __init__(
        self, namespace: str, name: str, url: str, resolver: Resolver, account: Path = ACCOUNT
    ) -> None:
        self._server = ApiServer(url, resolver, account)
        self._collection = f"{_GROUP}/namespaces/{namespace}/placements"
        self._path = f"{self._collection}/{name}"
        self._name = name

    @classmethod
    def in_cluster(
        cls, namespace: str, name: str, resolver: Resolver, environment: Mapping[str, str] = os.environ
    ) -> Placements:
        """Creates the client from the variables of every pod. Raises Unreachable outside a pod."""
        url = api_server_url(environment)
        if url is None:
            raise Unreachable(
                "KUBERNETES_SERVICE_HOST is not set: run in a pod, or give the placement by --placement-file"
            )
        return cls(namespace, name, url, resolver)

    async def watch(self, on_object: Callable[[Json], None]) -> None:
        """Calls `on_object` with the current Placement and after each change. Runs until cancelled."""
        pause = 0.5
        while True:
            try:
                found = await self._get()
                pause = 0.5
                on_object(found)
                await self._follow(found["metadata"].get("resourceVersion", ""), on_object)
            except NotFound:
                _log.info("Placement %s does not exist yet", self._name)
            except (Unreachable, KeyError, TypeError, ValueError) as error:
                _log.warning("watching Placement %s: %s", self._name, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def write_status(self, status: Mapping[str, Any]) -> Json:
        """Merge-patches the status and returns the current Placement. Raises Unreachable and NotFound."""
        body = orjson.dumps({"status": status})
        return await self._call("PATCH", f"{self._path}/status", body, "application/merge-patch+json")

    def close(self) -> None:
        """Closes idle connections."""
        self._server.close()

    async def _get(self) -> Json:
        return await self._call("GET", self._path)

    async def _follow(self, version: str, on_object: Callable[[Json], None]) -> None:
        rest = b""

        def feed(chunk: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = orjson.loads(line)
                if event.get("type") in ("ADDED", "MODIFIED"):
                    on_object(event["object"])

        selector = f"fieldSelector=metadata.name%3D{self._name}"
        query = f"?watch=1&{selector}&timeoutSeconds={_WATCH}&resourceVersion={version}"
        try:
            await self._server.client.request(
                "GET",
                self._collection + query,
                headers=self._server.headers(),
                within=_WATCH + 15,
                on_start=_keep_alive,
                sink=feed,
            )
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"watch interrupted ({error})") from error

    async def _call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Json:
        response = await self._server.call(method, path, body, kind)
        if response.status == 404:
            raise NotFound(f"Placement {self._name} does not exist")
        return response.json()


def _keep_alive(connection: Connection) -> None:
    """Turns on TCP keepalive: a watch over a link that was cut would otherwise wait forever."""
    sock = connection.socket
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
