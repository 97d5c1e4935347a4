"""What a node's cache asks the model store, with the tokens of its callers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from edge_runtime.connections import HttpClient, Resolver, Response
from edge_runtime.errors import (
    ConnectionFailed,
    EdgeError,
    Forbidden,
    NotFound,
    Unauthenticated,
    Unreachable,
)

_ANSWER: Final = 30.0  # seconds until the store responds; it checks the digest of a blob before it sends it
_STALLED: Final = 30.0  # seconds without a byte
_LONGEST: Final = 86_400.0
_REFUSALS: Final[dict[int, type[EdgeError]]] = {
    HTTPStatus.UNAUTHORIZED: Unauthenticated,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
}


class Upstream:
    """The model store at `url`. Raises Unreachable if it does not respond, and what it refuses with."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None, stalled: float = _STALLED) -> None:
        """stalled: seconds without a byte after which a download has failed."""
        self._client = HttpClient(url, Resolver(), tls=tls)
        self._url, self._stalled = url, stalled

    async def size(self, digest: str, token: str) -> int:
        """Returns the size of a blob in bytes if the store lets the token's namespace read it."""
        response = await self._sent("HEAD", digest, token, None, _ANSWER)
        try:
            return int(response.headers["content-length"])
        except (KeyError, ValueError) as error:
            raise Unreachable(f"model store {self._url}: HEAD /v1/blobs/{digest}: no length") from error

    async def read(self, digest: str, token: str, sink: Callable[[bytes], None]) -> None:
        """Passes the bytes of a blob to `sink`. There is no limit of time while bytes arrive."""
        await self._sent("GET", digest, token, sink, max(_ANSWER, self._stalled))

    def close(self) -> None:
        """Closes idle connections."""
        self._client.close()

    async def _sent(
        self, method: str, digest: str, token: str, sink: Callable[[bytes], None] | None, within: float
    ) -> Response:
        """within: seconds until the first byte; those after it may be `stalled` seconds apart."""
        loop, path = asyncio.get_running_loop(), f"/v1/blobs/{digest}"
        headers = f"Authorization: Bearer {token}\r\n" if token else ""
        try:
            async with asyncio.timeout(within) as limit:

                def received(part: bytes) -> None:
                    limit.reschedule(loop.time() + self._stalled)
                    if sink is not None:
                        sink(part)

                response = await self._client.request(
                    method, path, headers=headers, within=_LONGEST, sink=received
                )
        except (ConnectionFailed, TimeoutError) as error:
            raise Unreachable(f"model store {self._url}: {str(error) or 'timed out'}") from error
        if response.status == HTTPStatus.OK:
            return response
        kind = _REFUSALS.get(response.status, Unreachable)
        raise kind(f"model store {self._url}: {method} {path} returned HTTP {response.status}")
