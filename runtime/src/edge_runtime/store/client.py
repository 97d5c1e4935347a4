"""Client of a model store for uploads: in parts, which are continued after a break. Blocking."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from edge_runtime import errors
from edge_runtime.errors import BadCertificates, BadRequest, EdgeError, StorageError, Unreachable
from edge_runtime.tls.certificates import Certificates

PART: Final = 8 << 20
"""Bytes of one request."""
_TRIES: Final = 6
_FIRST_RETRY: Final = 0.5
_TIMES: Final = httpx.Timeout(120.0, connect=10.0)
_TOKEN: Final = "EDGE_STORE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached.

    Attributes:
        url: Its address; can have a path, as through the API server's proxy.
        token_file: With a ServiceAccount's token, read for each request. None: the token in
            $EDGE_STORE_TOKEN, or none.
        authority: PEM of the CA that signed the store's certificate; None: those of the system.
        certificates: Folder with ca.crt, tls.crt and tls.key, if the store requires certificates.
        connect_to: Host and port to connect to in place of those of the URL.
    """

    url: str
    token_file: Path | None = None
    authority: str | None = None
    certificates: Path | None = None
    connect_to: str = ""


class StoreClient:
    """A model store. Raises StorageError, or the error that the store names."""

    def __init__(
        self,
        access: Access,
        sleep: Callable[[float], None] = time.sleep,
        environment: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """transport: in place of connections."""
        self._access, self._sleep, self._environment = access, sleep, environment
        url = httpx.URL(access.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise BadRequest(f'--store: "{access.url}" is not a URL: write http://… or https://…')
        self._extensions = {"sni_hostname": url.host}
        self._host = url.netloc.decode()
        self._base = str(_elsewhere(url, access.connect_to)).rstrip("/")
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
        self._client = httpx.Client(
            timeout=_TIMES, verify=_context(access), trust_env=False, transport=transport
        )

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def files(self) -> list[dict[str, Any]]:
        """Returns names and sizes of the files of the token's namespace."""
        found: list[dict[str, Any]] = self.request("GET", "/v1/files").json()["files"]
        return found

    def request(
        self, method: str, path: str, *, json: object = None, content: bytes = b"", offset: int | None = None
    ) -> httpx.Response:
        """Returns a response. Raises Unreachable without one, and the error of a refusal.

        json, content: the body. offset: where a part of an upload belongs.
        """
        headers = {"host": self._host, **self._authorization()}
        if offset is not None:
            headers["upload-offset"] = str(offset)
        body: Any = {"content": content} if json is None else {"json": json}
        try:
            response = self._client.request(
                method, self._base + path, headers=headers, extensions=self._extensions, **body
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"model store {self._access.url}: {_words(error)}") from error
        if response.is_success:
            return response
        try:
            said = response.json()["error"]
            raise _kind(said["reason"])(said["message"])
        except (ValueError, KeyError, TypeError) as error:
            status = f"HTTP {response.status_code}"
            raise Unreachable(f"model store {self._access.url}: {method} {path}: {status}") from error

    def repeated(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        """Makes a call again while the store cannot be reached, with growing delays."""
        for attempt in range(_TRIES):
            try:
                return call()
            except Unreachable:
                if attempt == _TRIES - 1:
                    raise
                self._sleep(_FIRST_RETRY * 2**attempt)
        raise AssertionError("unreachable")

    def _authorization(self) -> dict[str, str]:
        token, path = self._environment.get(_TOKEN, ""), self._access.token_file
        if path is not None:
            try:
                token = path.read_text().strip()
            except OSError as error:
                raise BadRequest(f"--store-token-file {path}: cannot be read ({error.strerror})") from error
        # The API server's proxy removes Authorization.
        return {"x-edge-authorization": f"Bearer {token}"} if token else {}


class Sending:
    """An upload: a `Receiver` whose bytes go to the store in parts.

    name: of the file in the store. progress: told of the bytes that the store has, and of the size.
    """

    def __init__(
        self,
        client: StoreClient,
        name: str,
        progress: Callable[[int, int | None], None] = lambda received, size: None,
    ) -> None:
        self._client, self._name, self._progress = client, name, progress
        self._id, self._offset = "", 0
        self._size: int | None = None
        self._part = bytearray()

    def begin(self, size: int | None, version: str = "") -> int:
        """Begins the upload, or finds what of it arrived before. See `Receiver`."""
        request = {"name": self._name, "size": size, "version": version}
        found = self._client.repeated(lambda: self._client.request("POST", "/v1/uploads", json=request))
        self._id, self._size, self._offset = found.json()["id"], size, found.json()["offset"]
        self._part.clear()
        self._progress(self._offset, size)
        return self._offset

    def write(self, chunk: bytes) -> None:
        """Adds bytes, and sends a part of them once there are enough."""
        if not self._id:
            self.begin(None)
        self._part += chunk
        while len(self._part) >= PART:
            self._send(PART)

    def end(self, digest: str | None = None) -> dict[str, Any]:
        """Sends the rest, and stores the file. Returns its digest and its size.

        digest: that it must have. Raises DigestMismatch.
        """
        if not self._id:
            self.begin(None)
        if self._part:
            self._send(len(self._part))
        path = f"/v1/uploads/{self._id}"
        request = {} if digest is None else {"digest": digest}
        found: dict[str, Any] = self._client.request("POST", path, json=request).json()
        return found

    def _send(self, count: int) -> None:
        part, path = bytes(self._part[:count]), f"/v1/uploads/{self._id}"
        tried = False

        def call() -> httpx.Response:
            nonlocal tried
            # A connection can break after some of the part arrived.
            arrived = self._client.request("GET", path).json()["offset"] if tried else self._offset
            tried = True
            missing = part[arrived - self._offset :]
            return self._client.request("PATCH", path, content=missing, offset=arrived)

        self._client.repeated(call)
        del self._part[:count]
        self._offset += count
        self._progress(self._offset, self._size)


def _elsewhere(url: httpx.URL, connect_to: str) -> httpx.URL:
    if not connect_to:
        return url
    host, _, port = connect_to.rpartition(":")
    if host and port.isdecimal():
        return url.copy_with(host=host, port=int(port))
    return url.copy_with(host=connect_to)


def _context(access: Access) -> ssl.SSLContext | bool:
    if access.certificates is not None:
        return Certificates(access.certificates).client
    if access.authority is None:
        return True
    try:
        return ssl.create_default_context(cadata=access.authority)
    except ssl.SSLError as error:
        raise BadCertificates(
            f"--ca-file: the CA certificate cannot be used ({error.reason}): write PEM"
        ) from error


def _kind(reason: str) -> type[EdgeError]:
    kind = getattr(errors, reason, StorageError)
    return kind if isinstance(kind, type) and issubclass(kind, EdgeError) else StorageError


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
