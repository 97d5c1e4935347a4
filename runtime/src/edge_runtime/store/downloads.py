"""Downloads from an http or https URL, which is requested exactly as written. Blocking.

Every connection, also after a redirect, is checked at its socket: names are not resolved after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from edge_runtime.errors import NotFound, Refused, Unreachable
from edge_runtime.store.reachable import Reachable

_CHUNK: Final = 1 << 20
_TIMES: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_PATIENCE: Final = 60.0
_SLOWEST: Final = 1000
"""After so many seconds, a download of fewer bytes a second ends: it would hold a thread forever."""
_AGAIN: Final = frozenset((408, 425, 429))
"""Statuses that mean: retry later."""


def download(url: str, write: Callable[[bytes], None], said: str, allowed: Reachable) -> None:
    """Passes each part of the response's body to `write`.

    Raises NotFound, Refused (the server denies access, or has an internal address) or Unreachable (it failed
    this time), with messages that begin with `said`, and errors of `write`.
    """
    asyncio.run(_download(url, write, said, allowed))


async def _download(url: str, write: Callable[[bytes], None], said: str, allowed: Reachable) -> None:
    async with contextlib.aclosing(_parts(url, said, allowed)) as parts:
        async for part in parts:
            write(part)


async def _parts(url: str, said: str, allowed: Reachable) -> AsyncGenerator[bytes, None]:
    sockets = _Sockets(allowed)
    try:
        # Neither the URL nor that of a redirect is normalized: a signature covers its exact bytes.
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=sockets, socket_factory=sockets.open),
            timeout=_TIMES,
            requote_redirect_url=False,
            headers={"accept-encoding": "identity"},
        )
        async with session, session.get(URL(url, encoded=True)) as answer:
            _check(answer, said)
            began, received = time.monotonic(), 0
            async for part in answer.content.iter_chunked(_CHUNK):
                yield part
                received += len(part)
                check_rate(received, time.monotonic() - began, said)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if sockets.refused:
            raise Refused(
                f"{said} is at the internal address {sockets.refused[-1]}: upload the file and use store://, "
                f"or allow the host with --allow-internal (chart value store.allowInternal)"
            ) from error
        raise Unreachable(f"{said} cannot be read ({_cause(error)})") from error


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
    if answer.status != 200:
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
