"""Packed weights of a table: as its stages say, and reported where they are not packed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.assignment import parse_placement
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.routing.loaded_tables import LoadedTable, load_table
from edge_runtime.routing.slice_loading import SliceLoader
from misbehaving import large

MODEL = large()
DIGEST = f"sha256:{hashlib.sha256(MODEL).hexdigest()}"
ENDS: dict[str, Any] = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 6]}],
}


class Shelf(ModelStore):
    """A model store with one slice."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    async def blob(self, digest: str) -> bytes:
        return MODEL


def stage(packed: bool | None) -> dict[str, Any]:
    slice_ = {"digest": DIGEST, "size": len(MODEL), **ENDS}
    found = {"place": "edge-a", "runtime": "Edge", "slice": slice_}
    return found if packed is None else found | {"packed": packed}


def placement(packed: bool | None, for_others: bool | None = None) -> dict[str, Any]:
    route = {"name": "full@local", "exit": "full", "cut": "local", "accuracy": 0.9, "minBandwidth": "0"}
    spec = {
        "service": "digits",
        "node": "edge-a",
        "model": {"digest": DIGEST, **ENDS},
        "slo": {"latency": "100ms"},
        "routes": [route | {"predictedLatency": "50ms", "stages": [stage(packed)]}],
    }
    if for_others is not None:
        spec["intermediateSlices"] = [{"model": "digits-slice", "stages": [stage(for_others)]}]
    return {"metadata": {"name": "digits-edge-a", "namespace": "default", "generation": 1}, "spec": spec}


async def load(folder: Path, *documents: dict[str, Any]) -> list[LoadedTable]:
    """Loads one table after the other."""
    loader = SliceLoader(SliceCache(folder, Shelf()), None)
    found: list[LoadedTable] = []
    for document in documents:
        before = found[-1] if found else None
        found.append(await load_table(parse_placement(document), loader, _no_hops, before))
    loader.close()
    return found


def _no_hops(stages: Any) -> Any:
    raise AssertionError(stages)


@pytest.mark.parametrize(("packed", "unpacked"), [(None, ()), (True, ()), (False, (DIGEST,))])
async def test_weights_are_packed_as_the_stage_says(
    tmp_path: Path, packed: bool | None, unpacked: Any
) -> None:
    (table,) = await load(tmp_path, placement(packed))
    assert table.unpacked == unpacked


async def test_the_next_table_packs_otherwise(tmp_path: Path) -> None:
    tables = await load(tmp_path, placement(True), placement(False), placement(None), placement(True))
    assert [table.unpacked for table in tables] == [(), (DIGEST,), (DIGEST,), ()]
    assert tables[1].sessions[DIGEST] is tables[2].sessions[DIGEST], "no choice: what is loaded stays"


async def test_a_slice_that_other_entry_nodes_use_too_is_loaded_once_in_the_smaller_form(
    tmp_path: Path,
) -> None:
    (table,) = await load(tmp_path, placement(True, for_others=False))
    assert table.unpacked == (DIGEST,)
    assert table.intermediates[0].session is table.routes[0].session
