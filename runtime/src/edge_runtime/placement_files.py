"""Placements from a file instead of the API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge_runtime.json_values import Json
from edge_runtime.placed_services import metadata_of

_log = logging.getLogger(__name__)

_EVERY: Final = 0.5


async def follow(path: Path, receive: Callable[[list[Json], int], None]) -> None:
    """Calls `receive` with the documents of the file and its version, and again after each change.

    A document without metadata.generation gets the file's version in which its spec last changed. Runs until
    cancelled.
    """
    import yaml

    seen: tuple[int, int] | None = None
    version = 0
    generations: dict[str, tuple[Any, int]] = {}
    said = ""
    while True:
        try:
            stat = await asyncio.to_thread(path.stat)
            if (stat.st_mtime_ns, stat.st_size) != seen:
                seen = (stat.st_mtime_ns, stat.st_size)
                documents = list(yaml.safe_load_all(await asyncio.to_thread(path.read_text, "utf-8")))
                version += 1
                for document in documents:
                    _number(document, version, generations)
                receive(documents, version)
            said = ""
        # yaml raises ValueError for an impossible date and RecursionError for deep nesting.
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            if str(error) != said:  # once, not twice a second
                said = str(error)
                _log.warning("%s: %s", path, error)
        await asyncio.sleep(_EVERY)


def _number(document: Json, version: int, generations: dict[str, tuple[Any, int]]) -> None:
    metadata = metadata_of(document)
    if not metadata:
        return
    name, spec = str(metadata.get("name")), document.get("spec")
    before = generations.get(name)
    generation = before[1] if before is not None and before[0] == spec else version
    generations[name] = (spec, generation)
    metadata.setdefault("generation", generation)
