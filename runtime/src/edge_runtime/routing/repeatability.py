"""Whether a model gives the same outputs for the same inputs, known from the whole model by the store.

A node that has only the head cannot know whether the tail draws random numbers.
"""

from __future__ import annotations

from typing import Final

from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.json_values import Json
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.disk_cache import DiskCache

_UNKNOWN: Final = "the model store does not report whether the model is repeatable"


class Repeatability:
    """The store's responses about models, cached on disk for a start without the store."""

    def __init__(self, disk_cache: DiskCache, store: ModelStore) -> None:
        self._disk_cache, self._store = disk_cache, store

    async def unrepeatable(self, model: str) -> str:
        """Why the same inputs might give other outputs next time; empty if not. Raises Unreachable."""

        async def ask() -> Json:
            return {"unrepeatable": (await self._store.metadata(model)).get("unrepeatable")}

        try:
            found = await self._disk_cache.get(["unrepeatable", model], ask)
        except Unreachable:
            raise
        except StorageError as error:  # says nothing about the model: it is not kept on the disk
            return f"{_UNKNOWN}: {error}"
        said = found.get("unrepeatable") if isinstance(found, dict) else None
        return said if isinstance(said, str) else _UNKNOWN
