"""The last two placements on this node's disk, for a start without the cluster. Blocking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from edge_runtime.json_values import Json
from edge_runtime.model_store import write_whole


class LastPlacements:
    """The last loaded placement, and the one before it in case the last is damaged."""

    def __init__(self, folder: Path, write: Callable[[Path, bytes], None] = write_whole) -> None:
        self._last, self._before = folder / "placement.json", folder / "placement.before.json"
        self._write = write

    def documents(self) -> list[dict[str, Any]]:
        """The readable placements, the last one first."""
        return [d for d in (_read(self._last), _read(self._before)) if d is not None]

    def keep(self, document: Json) -> None:
        """Saves a loaded placement. If the disk does not take it, raises OSError and keeps the old ones."""
        metadata = {k: v for k, v in document["metadata"].items() if k != "managedFields"}
        kept = {"metadata": metadata, "spec": document["spec"]}
        old = _read(self._last)
        if old is not None and old.get("spec") != kept["spec"]:
            self._write(self._before, orjson.dumps(old))
        self._write(self._last, orjson.dumps(kept))

    def digests(self) -> set[str]:
        """Digests of the slices that these placements need at this node."""
        return {digest for document in self.documents() for digest in _digests(document)}


def _read(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found = orjson.loads(file.read_bytes())
        if isinstance(found, dict):
            return found
    return None


def _digests(document: Json) -> Iterator[str]:
    with contextlib.suppress(KeyError, TypeError):
        spec = document["spec"]
        if warm_up := (spec.get("model") or {}).get("warmUp"):
            yield warm_up
        for chain in [*spec["routes"], *(spec.get("intermediateSlices") or [])]:
            yield from (s["slice"]["digest"] for s in chain["stages"] if not s.get("address"))
