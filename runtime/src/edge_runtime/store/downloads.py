"""Downloads from an http or https URL, which is requested exactly as written. Blocking."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final

import aiohttp
from yarl import URL

from edge_runtime.errors import NotFound, Refused, Unreachable

_CHUNK: Final = 1 << 20
_TIMES: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_AGAIN: Final = frozenset((408, 425, 429))
"""Statuses that mean: retry later."""


def download(url: str, write: Callable[[bytes], None], said: str) -> None:
    """Passes each part of the response's body to `write`.

    Raises NotFound, Refused (the server denies access) or Unreachable (it failed this time), with messages
    that begin with `said`, and errors of `write`.
    """
    asyncio.run(_download(url, write, said))


async def _download(url: str, write: Callable[[bytes], None], said: str) -> None:
    async with contextlib.aclosing(_parts(url, said)) as parts:
        async for part in parts:
            write(part)


async def _parts(url: str, said: str) -> AsyncGenerator[bytes, None]:
    try:
        # Neither the URL nor that of a redirect is normalized: a signature covers its exact bytes.
        session = aiohttp.ClientSession(
            timeout=_TIMES, requote_redirect_url=False, headers={"accept-encoding": "identity"}
        )
        async with session, session.get(URL(url, encoded=True)) as answer:
            _check(answer, said)
            async for part in answer.content.iter_chunked(_CHUNK):
                yield part
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(f"{said} cannot be read ({_cause(error)})") from error


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
