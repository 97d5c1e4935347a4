"""Requests to the API server with the pod's service account.

The Kubernetes clients cost a throttled node seconds of start-up, so the runtime implements the few requests
that it needs.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge_runtime.connections import HttpClient, Resolver, Response
from edge_runtime.errors import ConnectionFailed, NotFound, Unreachable

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
JSON: Final = "application/json"
_WITHIN: Final = 5.0  # seconds for a request
_TOKEN_AGE: Final = 60.0  # seconds after which the token is read again


class ApiServer:
    """The API server at `url`, as the service account whose files are in the folder `account`.

    client: for requests that `call` does not suffice for, such as a watch; with `headers`.
    """

    def __init__(self, url: str, resolver: Resolver, account: Path = ACCOUNT) -> None:
        tls = None
        if url.startswith("https"):
            authority = account / "ca.crt"
            tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        self.client = HttpClient(url, resolver, tls=tls, size=2)
        self._account = account
        self._token, self._token_read = "", -1e9

    async def call(
        self, method: str, path: str, body: bytes = b"", kind: str = JSON, accept: str = JSON
    ) -> Response:
        """Returns the response of a request that succeeded. Raises NotFound, and Unreachable otherwise.

        kind: content type of the body.
        """
        headers = f"{self.headers(accept)}Content-Type: {kind}\r\n"
        try:
            response = await self.client.request(method, path, [body], headers, within=_WITHIN)
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"API server {self.client.url}: {str(error) or 'timed out'}") from error
        if response.status < 300:
            return response
        said = f"API server {self.client.url}: {method} {path} returned {response.status} {excerpt(response)}"
        raise NotFound(said) if response.status == 404 else Unreachable(said)

    def headers(self, accept: str = JSON) -> str:
        """Returns the lines of the token and of the accepted content type."""
        now = time.monotonic()
        if now - self._token_read > _TOKEN_AGE:  # the kubelet renews the file
            path = self._account / "token"
            self._token = path.read_text().strip() if path.exists() else ""
            self._token_read = now
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        return f"{bearer}Accept: {accept}\r\n"

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


def excerpt(response: Response) -> str:
    """Returns the beginning of a response's body, for messages."""
    return response.body[:300].decode("utf-8", "replace")
