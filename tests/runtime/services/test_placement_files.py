"""Placements from a file: an edit takes effect whether or not its editor numbers it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from edge_runtime import placement_files
from edge_runtime.placement_files import follow
from placed import SmallStore, adding, eventually, node, placement, sum_of


@pytest.mark.parametrize("generation", [None, 7], ids=["not numbered", "numbered"])
async def test_an_edit_of_one_service_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generation: int | None
) -> None:
    monkeypatch.setattr(placement_files, "_EVERY", 0.01)
    store, file = SmallStore(adding(1), adding(22)), tmp_path / "placements.yaml"

    def save(digest: str, comment: str) -> None:
        edited = placement("edited", digest)
        documents: list[dict[str, Any]] = [edited, placement("other", store.digests[0])]
        for document in documents:
            del document["metadata"]["generation"]
            if generation is not None:
                document["metadata"]["generation"] = generation
        text = b"\n---\n".join(orjson.dumps(document) for document in documents)
        new = tmp_path / "new.yaml"
        new.write_bytes(text + comment.encode())
        new.replace(file)

    save(store.digests[0], "")
    async with node(tmp_path, store) as services:
        following = asyncio.create_task(follow(file, lambda found, _: services.replace(found)))
        await eventually(lambda: len(services.models.index(only_ready=True)) == 2)
        edited, other = services.placed
        table = other.generations.table
        before = edited.generations.generation
        save(store.digests[1], "\n# edited\n")
        await eventually(lambda: edited.generations.generation > before)
        assert [await sum_of(services, name) for name in ("edited", "other")] == [22.0, 1.0]
        assert other.generations.table is table
        following.cancel()
