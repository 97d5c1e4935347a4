"""The API server as the console uses it: lists and watches, and reviews of tokens and of rights.

The only module of the console that imports the Kubernetes client. All calls block.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import kubernetes.client
import urllib3
import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from edge_console.errors import UnavailableError
from edge_console.rights import Identity, Right
from edge_operator.cluster import Kind, Object

_PAGE = 500
_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and to wait for a response."""
_WATCH_SECONDS = 290
"""After which the API server ends a watch, so that a dropped connection is noticed."""


class Expired(Exception):  # noqa: N818 - a watch's normal end
    """The version to watch from is too old: list again."""


class Listed(NamedTuple):
    """The objects of a kind, and the version from which to watch for changes."""

    items: list[Object]
    version: str


class ApiServer:
    """Reads of the API server with the console's own account."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._client = client

    def objects(self, kind: Kind, namespace: str | None) -> Listed:
        """Returns all objects of a kind. Raises UnavailableError."""
        items: list[Object] = []
        token = ""
        while True:
            query = [("limit", str(_PAGE)), *([("continue", token)] if token else [])]
            page = self._read("GET", _path(kind, namespace), query)
            # The items of a list lack apiVersion and kind.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **each} for each in page["items"]]
            token = page["metadata"].get("continue") or ""
            if not token:
                return Listed(items, page["metadata"]["resourceVersion"])

    def watch(self, kind: Kind, namespace: str | None, version: str) -> Iterator[tuple[str, Object]]:
        """Yields changes after a version as (type, object), until the API server ends the watch.

        Raises Expired, UnavailableError.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        response = self._send("GET", _path(kind, namespace), query, read=_WATCH_SECONDS + 30.0)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        raise Expired
                    raise UnavailableError(f"watching {kind.plural}: {event['object'].get('message')}")
                yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UnavailableError(f"watching {kind.plural}: {error}") from error
        finally:
            response.close()

    def review(self, token: str) -> Identity | None:
        """Returns whose token it is; None if it is not valid. Raises UnavailableError."""
        found = self._created("authentication.k8s.io/v1", "TokenReview", {"token": token})
        if not found.get("authenticated"):
            return None
        user = found["user"]
        return Identity(
            user["username"],
            user.get("uid") or "",
            tuple(user.get("groups") or ()),
            tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items())),
        )

    def allows(self, identity: Identity, right: Right) -> bool:
        """Whether the API server allows a right. Raises UnavailableError."""
        spec = {
            "user": identity.name,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra},
            "resourceAttributes": {
                "group": right.group,
                "resource": right.resource,
                "verb": right.verb,
                "namespace": right.namespace,
            },
        }
        return bool(self._created("authorization.k8s.io/v1", "SubjectAccessReview", spec).get("allowed"))

    def _created(self, version: str, kind: str, spec: Mapping[str, Any]) -> Object:
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        path = f"/apis/{version}/{kind.lower()}s"
        status: Object = self._read("POST", path, body=body).get("status") or {}
        return status

    def _read(
        self, method: str, path: str, query: list[tuple[str, str]] | None = None, body: Object | None = None
    ) -> Object:
        response = self._send(method, path, query or [], body)
        try:
            found: Object = json.loads(response.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UnavailableError(f"API server: {error}") from error
        return found

    def _send(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Object | None = None,
        read: float = _TIMEOUT[1],
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        request = self._client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=(_TIMEOUT[0], read))
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise UnavailableError(f"API server: {getattr(error, 'reason', None) or error}") from error
        if answer.status == 410:
            answer.response.close()
            raise Expired
        if answer.status >= 300:
            said = answer.response.data.decode(errors="replace")[:300]
            raise UnavailableError(f"API server: {method} {path}: {answer.status} {said}")
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
