"""Reads what is behind an http or https address, asked exactly as it was written. Blocking."""

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
"""Refusals that say: later."""


def download(url: str, write: Callable[[bytes], None], said: str) -> None:
    """Hands each part of what the server answers to `write`.

    NotFound, Refused (it will not answer this) or Unreachable (it did not, this time), each beginning with
    `said`; what `write` raises.
    """
    asyncio.run(_download(url, write, said))


async def _download(url: str, write: Callable[[bytes], None], said: str) -> None:
    async with contextlib.aclosing(_parts(url, said)) as parts:
        async for part in parts:
            write(part)


async def _parts(url: str, said: str) -> AsyncGenerator[bytes, None]:
    try:
        # Neither the address nor that of a redirection is written again: a signature is over its very bytes.
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
        raise NotFound(f"{said} is not there: the server answers {status}")
    if 400 <= answer.status < 500 and answer.status not in _AGAIN:
        raise Refused(f"{said} is refused: the server answers {status}; check the address and what signs it")
    if answer.status != 200:
        raise Unreachable(f"{said} cannot be read: the server answers {status}")


def _cause(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or str(error.os_error)
            return f"no connection to {error.host} port {error.port}: {why}"
        case aiohttp.ClientPayloadError():
            return "the server broke off before all of it had come"
        case TimeoutError():
            return "the server did not answer in time"
        case _:
            return str(error)[:200] or type(error).__name__
