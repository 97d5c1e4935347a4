"""Whether a model answers the same inputs the same again: asked of the model store, which has all of it.

A node that has only the head cannot tell whether the tail draws at random.
"""

from __future__ import annotations

from typing import Final

from edge_runtime.errors import StorageError, Unreachable
from edge_runtime.json_values import Json
from edge_runtime.model_store import ModelStore
from edge_runtime.routing.remembered import Remembered

_UNKNOWN: Final = "the model store does not say whether the model answers the same again"


class Repeats:
    """What the store says of models, remembered on the disk for a start without it."""

    def __init__(self, remembered: Remembered, store: ModelStore) -> None:
        self._remembered, self._store = remembered, store

    async def unrepeatable(self, model: str) -> str:
        """Why a model may answer otherwise next time; empty where it does not. Raises Unreachable."""

        async def ask() -> Json:
            try:
                metadata = await self._store.metadata(model)
            except Unreachable:
                raise
            except StorageError as error:
                return {"unrepeatable": f"{_UNKNOWN}: {error}"}
            return {"unrepeatable": metadata.get("unrepeatable")}

        found = await self._remembered.get(["unrepeatable", model], ask)
        said = found.get("unrepeatable") if isinstance(found, dict) else None
        return said if isinstance(said, str) else _UNKNOWN
