"""A cache of the model store's responses on disk, for a start while the store is unreachable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from edge_runtime.json_values import Json
from edge_runtime.model_store import write_whole

_MOST: Final = 64


class DiskCache:
    """The newest few JSON values by key, in one file; None is cached in memory only."""

    def __init__(self, file: Path, write: Callable[[Path, bytes], None] = write_whole) -> None:
        self._file, self._write = file, write
        self._known: dict[str, Any] | None = None

    async def get(self, key: Json, ask: Callable[[], Awaitable[Json]]) -> Json:
        """The value of a key, fetched with `ask` if it is not cached."""
        text = orjson.dumps(key).decode()
        known = await self._load()
        if text not in known:
            known[text] = await ask()
            while len(known) > _MOST:
                del known[next(iter(known))]
            with contextlib.suppress(OSError):  # a full disk costs the cache, not the service
                kept = {k: v for k, v in known.items() if v}
                await asyncio.to_thread(self._write, self._file, orjson.dumps(kept))
        return known[text]

    async def digests(self) -> set[str]:
        """The digests of all cached slices."""
        return set(_digests(await self._load()))

    async def _load(self) -> dict[str, Any]:
        if self._known is None:
            self._known = {}
            with contextlib.suppress(OSError, ValueError):
                found = orjson.loads(await asyncio.to_thread(self._file.read_bytes))
                self._known = found if isinstance(found, dict) else {}
        return self._known


def _digests(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("digest"), str):
            yield value["digest"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _digests(part)
