"""Lists and watches of the API server, for processes that keep a mirror without kopf. All calls block."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import kubernetes.client
import urllib3
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from edge_operator.cluster import Kind, Object
from edge_operator.errors import ApiUnreachableError

_PAGE: Final = 500
_TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and to wait for a response."""
_WATCH_SECONDS: Final = 290
"""After which the API server ends a watch, so that a dropped connection is noticed."""


class Expired(Exception):  # noqa: N818 - a watch's normal end
    """The version to watch from is too old: list again."""


class Listed(NamedTuple):
    """The objects of a kind, and the version from which to watch for changes."""

    items: list[Object]
    version: str


class Events(Protocol):
    """Changes as (type, object)."""

    def __iter__(self) -> "Events": ...
    def __next__(self) -> tuple[str, Object]: ...


class Lister(Protocol):
    """Lists and watches. Raises ApiUnreachableError, and Expired from a watch."""

    def objects(self, kind: Kind, namespace: str | None) -> Listed: ...
    def watch(self, kind: Kind, namespace: str | None, version: str) -> Events: ...


class ListWatch:
    """`Lister` over the official client, with the account of this process."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._client = client

    def objects(self, kind: Kind, namespace: str | None) -> Listed:
        """Returns all objects of a kind. Raises ApiUnreachableError."""
        items: list[Object] = []
        token = ""
        while True:
            query = [("limit", str(_PAGE)), *([("continue", token)] if token else [])]
            page = self.read("GET", _path(kind, namespace), query)
            # The items of a list lack apiVersion and kind.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **each} for each in page["items"]]
            token = page["metadata"].get("continue") or ""
            if not token:
                return Listed(items, page["metadata"]["resourceVersion"])

    def watch(self, kind: Kind, namespace: str | None, version: str) -> Iterator[tuple[str, Object]]:
        """Yields changes after a version as (type, object), until the API server ends the watch.

        Raises Expired, ApiUnreachableError.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        response = self.send("GET", _path(kind, namespace), query, read=_WATCH_SECONDS + 30.0)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Expired
                    raise ApiUnreachableError(f"watching {kind.plural}: {event['object'].get('message')}")
                yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ApiUnreachableError(f"watching {kind.plural}: {error}") from error
        finally:
            response.close()

    def read(
        self, method: str, path: str, query: list[tuple[str, str]] | None = None, body: Object | None = None
    ) -> Object:
        """Returns the JSON object that the API server responds with. Raises ApiUnreachableError."""
        response = self.send(method, path, query or [], body)
        try:
            found: Object = json.loads(response.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ApiUnreachableError(f"API server: {error}") from error
        return found

    def send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Object | None = None,
        read: float = _TIMEOUT[1],
    ) -> urllib3.BaseHTTPResponse:
        """Returns an open response with a good status. Raises Expired, ApiUnreachableError."""
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        request = self._client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=(_TIMEOUT[0], read))
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise ApiUnreachableError(f"API server: {getattr(error, 'reason', None) or error}") from error
        if answer.status == 410:
            answer.response.close()
            raise Expired
        if answer.status >= 300:
            said = answer.response.data.decode(errors="replace")[:300]
            raise ApiUnreachableError(f"API server: {method} {path}: {answer.status} {said}")
        response: urllib3.BaseHTTPResponse = answer.response
        return response


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for part in response.stream(65536, decode_content=False):
        *whole, rest = (rest + part).split(b"\n")
        yield from (line for line in whole if line)


def _path(kind: Kind, namespace: str | None) -> str:
    root = "/api/" if "/" not in kind.api_version else "/apis/"
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{kind.api_version}{scope}/{kind.plural}"
