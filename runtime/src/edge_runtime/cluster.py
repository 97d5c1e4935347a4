"""The only client of the API server: watches one Placement and writes its status.

The Kubernetes clients cost a throttled node seconds of start-up, so this module implements the three requests
that it needs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from edge_runtime.connections import Connection, HttpClient, Resolver
from edge_runtime.errors import ConnectionFailed, NotFound, Unreachable
from edge_runtime.json_values import Json

_log = logging.getLogger(__name__)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_WITHIN: Final = 5.0
_WATCH: Final = 240
_TOKEN_AGE: Final = 60.0
_LONGEST_PAUSE: Final = 10.0
_GROUP: Final = "/apis/edge-intelligence.io/v1alpha1"


class Placements:
    """One Placement in the API server, read and written with the pod's service account."""

    def __init__(
        self, namespace: str, name: str, url: str, resolver: Resolver, account: Path = ACCOUNT
    ) -> None:
        tls = None
        if url.startswith("https"):
            authority = account / "ca.crt"
            tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        self._client = HttpClient(url, resolver, tls=tls, size=2)
        self._collection = f"{_GROUP}/namespaces/{namespace}/placements"
        self._path = f"{self._collection}/{name}"
        self._name, self._account = name, account
        self._token, self._token_read = "", -1e9

    @classmethod
    def in_cluster(
        cls, namespace: str, name: str, resolver: Resolver, environment: Mapping[str, str] = os.environ
    ) -> Placements:
        """Creates the client from the variables of every pod. Raises Unreachable outside a pod."""
        host = environment.get("KUBERNETES_SERVICE_HOST")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise Unreachable(
                "KUBERNETES_SERVICE_HOST is not set: run in a pod, or give the placement by --placement-file"
            )
        address = f"[{host}]" if ":" in host else host
        return cls(namespace, name, f"https://{address}:{port}", resolver)

    async def watch(self, on_object: Callable[[Json], None]) -> None:
        """Calls `on_object` with the current Placement and after each change. Runs until cancelled."""
        pause = 0.5
        while True:
            try:
                found = await self.read()
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
        self._client.close()

    async def read(self) -> Json:
        """Returns the current Placement. Raises Unreachable and NotFound."""
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
            await self._client.request(
                "GET",
                self._collection + query,
                headers=self._headers(),
                within=_WATCH + 15,
                on_start=_keep_alive,
                sink=feed,
            )
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"watch interrupted ({error})") from error

    async def _call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Json:
        headers = f"{self._headers()}Content-Type: {kind}\r\n"
        try:
            response = await self._client.request(method, path, [body], headers, within=_WITHIN)
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"API server {self._client.url}: {str(error) or 'timed out'}") from error
        if response.status == 404:
            raise NotFound(f"Placement {self._name} does not exist")
        if response.status >= 300:
            said = response.body[:300].decode("utf-8", "replace")
            raise Unreachable(
                f"API server {self._client.url}: {method} {path} returned {response.status} {said}"
            )
        return response.json()

    def _headers(self) -> str:
        now = time.monotonic()
        if now - self._token_read > _TOKEN_AGE:  # the kubelet renews the file
            path = self._account / "token"
            self._token = path.read_text().strip() if path.exists() else ""
            self._token_read = now
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        return f"{bearer}Accept: application/json\r\n"


def _keep_alive(connection: Connection) -> None:
    """Turns on TCP keepalive: a watch over a link that was cut would otherwise wait forever."""
    sock = connection.socket
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
