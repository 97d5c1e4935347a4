"""The Placements at the API server: watches those at this node and writes their statuses."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from edge_api.names import (
    ISOLATION_LABEL,
    NODE_LABEL,
    PEER_SCHEME_LABEL,
    SERVICE_LABEL,
    dedicated_service_name,
    label_value,
    placement_name,
    runtime_service_name,
)
from edge_runtime.api_server import ACCOUNT, JSON, ApiServer, api_server_url
from edge_runtime.connections import Connection, Resolver
from edge_runtime.errors import ConnectionFailed, NotFound, Unreachable
from edge_runtime.json_values import Json

_log = logging.getLogger(__name__)

_WATCH: Final = 240
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_GROUP: Final = "/apis/edge-intelligence.io/v1alpha1"


class Receiver(Protocol):
    """What the watch calls with the Placements."""

    def replace(self, documents: Iterable[Json]) -> None:
        """Receives all of them."""

    def change(self, document: Json) -> None:
        """Receives one that was created or changed."""

    def remove(self, document: Json) -> None:
        """Receives one that was deleted."""


class Placements:
    """The Placements at one node, read and written with the pod's service account."""

    def __init__(
        self, namespace: str, selector: str, url: str, resolver: Resolver, account: Path = ACCOUNT
    ) -> None:
        """selector: the labels of the Placements to watch, such as those of `placed_at`."""
        self._server = ApiServer(url, resolver, account)
        self._collection = f"{_GROUP}/namespaces/{namespace}/placements"
        self._selector = f"labelSelector={quote(selector, safe='')}"
        self._watching: Connection | None = None
        self.secured: set[str] = set()
        """Runtimes found by `runtimes_of` that serve TLS for other nodes, by the names of their Services."""

    @classmethod
    def in_cluster(
        cls, namespace: str, selector: str, resolver: Resolver, environment: Mapping[str, str] = os.environ
    ) -> Placements:
        """Creates the client from the variables of every pod. Raises Unreachable outside a pod."""
        url = api_server_url(environment)
        if url is None:
            raise Unreachable(
                "KUBERNETES_SERVICE_HOST is not set: run in a pod, or give the placement by --placement-file"
            )
        return cls(namespace, selector, url, resolver)

    @property
    def in_contact(self) -> bool:
        """Whether the API server has begun to answer the current watch, and the connection still stands.

        TCP keepalive closes a connection whose peer was silent for 25 s.
        """
        watching = self._watching
        return watching is not None and watching.began and not watching.closed

    async def watch(self, receiver: Receiver) -> None:
        """Calls `receiver` with the current Placements, then with each change. Runs until cancelled.

        A watch that ends is continued where it ended; Placements are only listed again if that is impossible.
        """
        pause, version = _FIRST_PAUSE, ""
        while True:
            try:
                if not version:
                    found = await self._call("GET", f"{self._collection}?{self._selector}")
                    version = found["metadata"].get("resourceVersion", "")
                    receiver.replace(found["items"])
                    pause = _FIRST_PAUSE
                version = await self._follow(version, receiver)
                pause = _FIRST_PAUSE if version else pause
            except (Unreachable, NotFound, KeyError, TypeError, ValueError) as error:
                version = ""
                _log.warning("watching the Placements: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def write_status(self, name: str, status: Mapping[str, Any]) -> Json:
        """Merge-patches the status of a Placement and returns the current object.

        Raises Unreachable and NotFound.
        """
        body = orjson.dumps({"status": status})
        path = f"{self._collection}/{name}/status"
        return await self._call("PATCH", path, body, "application/merge-patch+json")

    async def runtimes_of(self, service: str) -> list[str]:
        """Returns the names of the Services of a service's runtimes, at most 20. Raises Unreachable.

        Only the metadata is read, because a service can have a thousand Placements.
        """
        labels = quote(f"{SERVICE_LABEL}={label_value(service)}", safe="")
        found = await self._call(
            "GET", f"{self._collection}?labelSelector={labels}&limit=20", accept=_METADATA
        )
        runtimes = []
        for item in found.get("items") or ():
            metadata = item.get("metadata") or {}
            if runtime := _runtime_of(metadata, service):
                runtimes.append(runtime)
                secured = (metadata.get("labels") or {}).get(PEER_SCHEME_LABEL) == "HTTPS"
                (self.secured.add if secured else self.secured.discard)(runtime)
        return runtimes

    def close(self) -> None:
        """Closes idle connections."""
        self._server.close()

    async def _follow(self, version: str, receiver: Receiver) -> str:
        """Follows changes after a version. Returns the version to continue from; empty to list again."""
        rest = b""

        def feed(chunk: bytes) -> None:
            nonlocal rest, version
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = orjson.loads(line)
                document = event.get("object") or {}
                match event.get("type"):
                    case "ADDED" | "MODIFIED":
                        receiver.change(document)
                    case "DELETED":
                        receiver.remove(document)
                    case "ERROR":  # the version is too old, for one
                        version = ""
                        return
                version = document.get("metadata", {}).get("resourceVersion", version)

        def begin(connection: Connection) -> None:
            self._watching = connection
            _keep_alive(connection)

        query = f"?watch=1&{self._selector}&timeoutSeconds={_WATCH}&allowWatchBookmarks=true"
        try:
            response = await self._server.client.request(
                "GET",
                f"{self._collection}{query}&resourceVersion={version}",
                headers=self._server.headers(),
                within=_WATCH + 15,
                on_start=begin,
                sink=feed,
            )
        except (ConnectionFailed, TimeoutError) as error:
            _log.warning("the watch was interrupted: %s", str(error) or "timed out")
            return version
        finally:
            self._watching = None
        return version if response.status == 200 else ""

    async def _call(
        self, method: str, path: str, body: bytes = b"", kind: str = JSON, accept: str = JSON
    ) -> Json:
        return (await self._server.call(method, path, body, kind, accept)).json()


def placed_at(node: str, service: str = "") -> str:
    """Returns the label selector of the Placements at a node, of one service or of all."""
    labels = {NODE_LABEL: label_value(node)} | ({SERVICE_LABEL: label_value(service)} if service else {})
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _runtime_of(metadata: Mapping[str, Any], service: str) -> str:
    """The runtime that a Placement is for, by its labels and its name; empty if they do not tell."""
    labels = metadata.get("labels") or {}
    before, _, node = str(metadata.get("name", "")).partition(".")
    if before != service or placement_name(service, node) != metadata.get("name"):
        node = labels.get(NODE_LABEL, "")
    if not node or not isinstance(node, str):
        return ""
    dedicated = labels.get(ISOLATION_LABEL) == "Dedicated"
    return dedicated_service_name(service, node) if dedicated else runtime_service_name(node)


def _keep_alive(connection: Connection) -> None:
    """Turns on TCP keepalive: a watch over a link that was cut would otherwise wait forever."""
    sock = connection.socket
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
