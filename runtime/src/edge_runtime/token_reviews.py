"""Asks the API server whose tokens callers show; the model store's part of `edge_runtime.cluster`."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from edge_runtime.cluster import ACCOUNT
from edge_runtime.connections import HttpClient, Resolver, Response
from edge_runtime.errors import ConnectionFailed, Unreachable

_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server found about a token. user: empty if the token is not valid; then `why` tells."""

    user: str = ""
    why: str = ""


class TokenReviews:
    """Reviews of tokens for one audience, requested with the pod's service account."""

    def __init__(self, audience: str, url: str, resolver: Resolver, account: Path = ACCOUNT) -> None:
        tls = None
        if url.startswith("https"):
            authority = account / "ca.crt"
            tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        self._client = HttpClient(url, resolver, tls=tls)
        self._audience, self._account = audience, account

    async def review(self, token: str) -> Review:
        """Returns the user of a token. Raises Unreachable."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        response = await self._sent(orjson.dumps(asked))
        said = response.body[:300].decode("utf-8", "replace")
        if response.status >= 300:
            raise Unreachable(
                f"API server {self._client.url}: tokenreviews returned {response.status} {said}"
            )
        try:
            status = response.json()["status"]
            if not status.get("authenticated"):
                return Review(why=str(status.get("error") or "the API server does not know it"))
            # An authenticator that knows no audiences leaves them out: its token is for another audience.
            if self._audience not in (status.get("audiences") or ()):
                return Review(why=f"it is not for audience {self._audience}")
            return Review(str(status["user"]["username"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"API server: response to a TokenReview cannot be read: {said}") from error

    async def _sent(self, review: bytes) -> Response:
        headers = "Accept: application/json\r\nContent-Type: application/json\r\n"
        token = self._account / "token"
        if token.exists():
            headers += f"Authorization: Bearer {token.read_text().strip()}\r\n"
        try:
            return await self._client.request("POST", _REVIEWS, [review], headers, within=_WITHIN)
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"API server {self._client.url}: {str(error) or 'timed out'}") from error
        finally:
            self._client.close()  # reviews are rare: no connection waits for the next


def api_server_url(environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns the API server's address from the variables of every pod, or None outside a pod."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host:
        return None
    address = f"[{host}]" if ":" in host else host
    return f"https://{address}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}"
