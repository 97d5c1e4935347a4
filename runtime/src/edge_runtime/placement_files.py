"""Placements from a file instead of the API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edge_runtime.json_values import Json, metadata_of

_log = logging.getLogger(__name__)

_EVERY: Final = 0.5


async def follow(path: Path, receive: Callable[[list[Json], int], None]) -> None:
    """Calls `receive` with the documents of the file and its version, and again after each change.

    A document without metadata.generation gets the file's version in which its spec last changed, and one
    whose spec changed without it the next number. Runs until cancelled.
    """
    import yaml

    seen: tuple[int, int] | None = None
    version = 0
    generations: dict[str, tuple[Any, Any, Any]] = {}
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


def _number(document: Json, version: int, generations: dict[str, tuple[Any, Any, Any]]) -> None:
    metadata = metadata_of(document)
    if not metadata:
        return
    name, spec, given = str(metadata.get("name")), document.get("spec"), metadata.get("generation")
    before = generations.get(name)
    if before is not None and before[:2] == (spec, given):
        generation = before[2]
    else:
        generation = version if given is None else given
        if before is not None and given == before[1] and isinstance(generation, int):
            generation = max(generation, before[2] + 1)
    generations[name] = (spec, given, generation)
    metadata["generation"] = generation
