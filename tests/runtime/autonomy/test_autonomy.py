"""An entry node keeps serving without the control plane, as long as its service allows."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from edge_runtime.autonomy import LastContact, refusal
from edge_runtime.connections import Resolver
from edge_runtime.errors import NotReady
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.placed_services import PlacedService
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from messages import mentions
from networks import info, model_of
from placed import eventually

HOUR = 3600.0


class Clock:
    def __init__(self, now: float = 1.7e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("autonomy", "age", "refused"), [(None, 1e9, False), (24 * HOUR, 24 * HOUR, False), (60.0, 61.0, True)]
)
def test_requests_are_refused_only_beyond_the_autonomy(
    autonomy: float | None, age: float, refused: bool
) -> None:
    assert bool(refusal(autonomy, age)) is refused


def test_the_refusal_says_since_when_and_what_ends_it() -> None:
    assert mentions("API server", "1m30s", "1m0s").search(refusal(60.0, 90.0))


def test_the_last_word_survives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    word = LastContact(tmp_path / "last-word", clock)
    word.heard()
    word.keep()
    clock.now += 5 * HOUR
    assert LastContact(tmp_path / "last-word", clock).age == 5 * HOUR


def test_a_node_that_never_heard_anything_counts_from_its_start(tmp_path: Path) -> None:
    clock = Clock()
    word = LastContact(tmp_path / "last-word", clock)
    assert word.age == 0.0
    clock.now += 7.0
    assert word.age == 7.0


def test_a_clock_that_was_set_back_begins_the_count_again(tmp_path: Path) -> None:
    (tmp_path / "last-word").write_text("1700000000\n")
    clock = Clock(now=0.0)
    word = LastContact(tmp_path / "last-word", clock)
    assert word.age == 0.0
    clock.now = 30.0
    assert word.age == 30.0


def test_what_the_disk_made_of_the_file_is_not_a_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "last-word").write_bytes(b"\xff\x00")
    assert LastContact(tmp_path / "last-word", Clock()).age == 0.0


def test_it_is_written_down_once_a_minute_at_most(tmp_path: Path) -> None:
    clock = Clock()
    word = LastContact(tmp_path / "last-word", clock)
    written = []
    for _ in range(130):
        word.heard()
        word.keep()
        written.append((tmp_path / "last-word").read_text())
        clock.now += 1.0
    assert len(set(written)) == 3


async def test_a_silent_api_server_ends_the_service_and_one_word_brings_it_back(tmp_path: Path) -> None:
    clock = Clock()
    placed = await asyncio.to_thread(_placement, tmp_path, "24h")
    runtime = await _started(tmp_path, clock)
    runtime.receive(placed)
    loading = asyncio.create_task(runtime.load_arriving())
    await eventually(lambda: _ready(runtime))
    clock.now += 23 * HOUR
    runtime.keep_to_autonomy()
    assert _ready(runtime)
    clock.now += 2 * HOUR
    runtime.keep_to_autonomy()
    assert not _ready(runtime)
    with pytest.raises(NotReady, match=mentions("25h0m0s", "24h0m0s")):
        runtime.service.contract("digits")
    assert "autonomy" in runtime.service.index(only_ready=False)[0]["reason"]
    runtime.receive(placed)
    assert _ready(runtime)
    loading.cancel()
    runtime.close()
    await runtime.generations.resources.close()


async def test_a_reboot_does_not_begin_the_autonomy_again(tmp_path: Path) -> None:
    clock = Clock()
    placed = await asyncio.to_thread(_placement, tmp_path, "1h")
    first = await _started(tmp_path, clock)
    first.receive(placed)
    loading = asyncio.create_task(first.load_arriving())
    await eventually((tmp_path / "placement.json").exists)
    first.word.keep()
    loading.cancel()
    first.close()
    await first.generations.resources.close()
    clock.now += 2 * HOUR
    second = await _started(tmp_path, clock)
    await second.load_last()
    assert second.generations.table is not None
    second.keep_to_autonomy()
    assert not second.service.ready
    second.close()
    await second.generations.resources.close()


def _ready(runtime: PlacedService) -> bool:
    return runtime.service.ready


async def _started(folder: Path, clock: Clock) -> PlacedService:
    resolver = Resolver()
    store = ModelStore("http://127.0.0.1:1", resolver)
    resources = NodeResources(SliceLoader(SliceCache(folder / "slices", store), None), resolver)
    return PlacedService("digits", folder, store, resources, LastContact(folder / "last-word", clock))


def _placement(folder: Path, autonomy: str) -> dict[str, Any]:
    """A table of one local route, whose slice is cached."""
    node = helper.make_node("Relu", ["x"], ["y"])
    data = model_of([node], [info("x", "batch", 4)], [info("y", "batch", 4)])
    digest = _kept(folder, data)
    x, y = ({"name": n, "datatype": "FP32", "shape": [-1, 4]} for n in ("x", "y"))
    slice_ = {"digest": digest, "size": len(data), "inputs": [x], "outputs": [y]}
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 1.0,
        "minBandwidth": "0",
        "predictedLatency": "1ms",
        "stages": [{"place": "edge-a", "runtime": "Edge", "slice": slice_}],
    }
    return {
        "metadata": {"name": "digits-edge-a", "namespace": "default", "generation": 1},
        "spec": {
            "service": "digits",
            "node": "edge-a",
            "mode": "Auto",
            "model": {"digest": digest, "inputs": [x], "outputs": [y]},
            "slo": {"latency": "100ms"},
            "autonomy": autonomy,
            "routes": [route],
        },
    }


def _kept(folder: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (folder / "slices").mkdir(exist_ok=True)
    (folder / "slices" / name).write_bytes(data)
    return f"sha256:{name}"
