"""Downloads from an http or https URL, which is requested exactly as written. Blocking.

Every connection, also after a redirect, is checked at its socket: names are not resolved after it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from edge_runtime.errors import NotFound, Refused, Unreachable
from edge_runtime.store.reachable import Reachable
from edge_runtime.store.receiving import Receiver

_CHUNK: Final = 1 << 20
_TIMES: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_PATIENCE: Final = 60.0
_SLOWEST: Final = 1000
"""After so many seconds, a download of fewer bytes a second ends: it would hold a thread forever."""
_PARTIAL: Final = 206
_TRIES: Final = 5
"""Requests in a row that bring no byte, before the file counts as unreachable."""
_AGAIN: Final = frozenset((408, 425, 429))
"""Statuses that mean: retry later."""


def download(
    url: str, receiver: Receiver, said: str, allowed: Reachable, login: tuple[str, str] | None = None
) -> None:
    """Passes the response's body to `receiver`. After a break, requests the rest if it is of the same file.

    login: user and password of the host. Raises NotFound, Refused (the server denies access, or has an
    internal address) or Unreachable (it failed this time), with messages that begin with `said`, and errors
    of `receiver`.
    """
    try:
        asyncio.run(_download(url, receiver, said, allowed, login))
    except _NotReceivedError as error:
        raise error.cause from None


async def _download(
    url: str, receiver: Receiver, said: str, allowed: Reachable, login: tuple[str, str] | None
) -> None:
    file = _File(receiver)
    fruitless = 0
    while True:
        before = file.offset
        try:
            if await _request(url, file, said, allowed, login):
                return
        except Unreachable:
            fruitless = 0 if file.offset > before else fruitless + 1
            if not file.version or fruitless >= _TRIES:
                raise


class _NotReceivedError(Exception):
    """Carries an error of the receiver past those of the connection."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(slots=True)
class _File:
    """What arrived of the file.

    Attributes:
        version: By its ETag or its date; empty if the server says neither.
        skips: Whether the rest was requested because an earlier download had stored the beginning.
    """

    receiver: Receiver
    offset: int = 0
    version: str = ""
    skips: bool = False

    def headers(self) -> dict[str, str]:
        """The headers of a request for the rest."""
        return {"range": f"bytes={self.offset}-", "if-range": self.version} if self.offset else {}

    def begin(self, answer: aiohttp.ClientResponse) -> int:
        """Returns how many bytes of the response are not wanted, because they arrived before."""
        skipped = self.offset if answer.status == _PARTIAL else 0
        if not skipped:  # the rest is of the version that If-Range named
            self.version = _version(answer)
        length = answer.content_length
        try:
            self.offset = self.receiver.begin(None if length is None else skipped + length, self.version)
        except OSError as error:
            raise _NotReceivedError(error) from error
        return self.offset - skipped

    def write(self, part: bytes) -> None:
        """Passes bytes on."""
        try:
            self.receiver.write(part)
        except OSError as error:
            raise _NotReceivedError(error) from error
        self.offset += len(part)


async def _request(
    url: str, file: _File, said: str, allowed: Reachable, login: tuple[str, str] | None
) -> bool:
    """Returns whether the file is complete; not if most of the response arrived before."""
    sockets = _Sockets(allowed)
    try:
        # Neither the URL nor that of a redirect is normalized: a signature covers its exact bytes.
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=sockets, socket_factory=sockets.open),
            timeout=_TIMES,
            requote_redirect_url=False,
            headers={"accept-encoding": "identity"},
        )
        where = URL(url, encoded=True)
        # Of one request, not of the session, which would repeat it to the host of a redirect.
        auth = aiohttp.BasicAuth(*login) if login is not None and where.user is None else None
        async with session, session.get(where, headers=file.headers(), auth=auth) as answer:
            _check(answer, said)
            unwanted = file.begin(answer)
            if unwanted and not file.skips:
                file.skips = True
                return False
            began, received = time.monotonic(), 0
            async for part in answer.content.iter_chunked(_CHUNK):
                received += len(part)
                if rest := part[unwanted:]:
                    file.write(rest)
                unwanted -= len(part) - len(rest)
                check_rate(received, time.monotonic() - began, said)
            return True
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if sockets.refused:
            raise Refused(
                f"{said} is at the internal address {sockets.refused[-1]}: upload the file and use store://, "
                f"or allow the host with --allow-internal (chart value store.allowInternal)"
            ) from error
        raise Unreachable(f"{said} cannot be read ({_cause(error)})") from error


def _version(answer: aiohttp.ClientResponse) -> str:
    """What If-Range compares: a strong ETag, else the date of the last change."""
    tag = answer.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified", "")


class _Sockets(AbstractResolver):
    """Opens the sockets of one download, for addresses that are allowed."""

    def __init__(self, allowed: Reachable) -> None:
        self._allowed = allowed
        self._resolver = aiohttp.DefaultResolver()
        self._named = set[str]()  # addresses of hosts that are allowed by name
        self.refused: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if self._allowed.names(host):
            self._named.update(one["host"] for one in found)
        return found

    async def close(self) -> None:
        await self._resolver.close()

    def open(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = info
        address = str(where[0])
        if address not in self._named and not self._allowed.connects(address):
            self.refused.append(address)
            raise PermissionError(f"{address} is an internal address")
        return socket.socket(family, kind, protocol)


def check_rate(received: int, seconds: float, said: str) -> None:
    """Raises Unreachable for a download that hardly moves."""
    if seconds > _PATIENCE and received < seconds * _SLOWEST:
        raise Unreachable(
            f"{said} cannot be read: {received} bytes arrived in {seconds:.0f} s, fewer than {_SLOWEST} B/s"
        )


def _check(answer: aiohttp.ClientResponse, said: str) -> None:
    status = f"HTTP {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in (404, 410):
        raise NotFound(f"{said} does not exist: the server returned {status}")
    if 400 <= answer.status < 500 and answer.status not in _AGAIN:
        raise Refused(
            f"{said} was refused: the server returned {status}: check the address and its signature"
        )
    if answer.status not in (200, _PARTIAL):
        raise Unreachable(f"{said} cannot be read: the server returned {status}")


def _cause(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or str(error.os_error)
            return f"no connection to {error.host} port {error.port}: {why}"
        case aiohttp.ClientPayloadError():
            return "the server closed the connection before the end of the file"
        case TimeoutError():
            return "the server timed out"
        case _:
            return str(error)[:200] or type(error).__name__
