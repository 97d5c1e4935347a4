"""A model store in memory that cuts one model on request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from edge_runtime.codecs.contracts import FP32
from edge_runtime.errors import EdgeError, NotFound, StorageError
from edge_runtime.model_store import ModelStore
from edge_runtime.slicing import Graph

Document = dict[str, Any]


class CuttingStore(ModelStore):
    """Holds a model with these exits, each as in the metadata of a model."""

    def __init__(self, model: bytes, exits: Sequence[Document]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.graph, self._exits, self._slices = Graph(model), exits, dict[str, bytes]()

    async def metadata(self, model: str) -> Document:
        return {"digest": model, "exits": list(self._exits), "unrepeatable": ""}

    async def slice(
        self, model: str, inputs: Sequence[str], outputs: Sequence[str], decode: str = FP32
    ) -> Document:
        try:
            return self.cut(inputs, outputs, decode=decode)
        except EdgeError as error:
            raise StorageError(str(error)) from error

    async def blob(self, digest: str) -> bytes:
        if digest not in self._slices:
            raise NotFound(f"model store: {digest} is not stored")
        return self._slices[digest]

    def cut(
        self, inputs: Sequence[str], outputs: Sequence[str], *, decode: str = FP32, encode: str = FP32
    ) -> Document:
        """A slice as it stands in a Placement."""
        data = self.graph.slice(inputs, outputs, decode=decode, encode=encode)
        takes, gives = self.graph.contract(inputs, outputs, decode=decode, encode=encode)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._slices[digest] = data
        return {
            "digest": digest,
            "inputs": [t.document() for t in takes],
            "outputs": [t.document() for t in gives],
        }
