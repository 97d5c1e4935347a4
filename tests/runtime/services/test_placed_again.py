"""A service that is removed and placed again under its name, and faults that must not outlive their cause."""

from __future__ import annotations

import asyncio
import gc
import math
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import pytest

from edge_runtime import node_services, placed_services
from edge_runtime.json_values import Json
from edge_runtime.last_placements import LastPlacements
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.node_services import NodeServices
from edge_runtime.placed_services import PlacedService
from placed import NOWHERE, SmallStore, adding, eventually, node, placement, sum_of, through

MISSING = f"sha256:{'0' * 64}"


def _ready(services: NodeServices, name: str) -> bool:
    return [entry["name"] for entry in services.models.index(only_ready=True)] == [name]


class GatedStore(SmallStore):
    """Sends a slice only once the gate is open."""

    def __init__(self, *models: bytes) -> None:
        super().__init__(*models)
        self.gate = asyncio.Event()
        self.gate.set()

    async def blob(self, digest: str) -> bytes:
        await self.gate.wait()
        return await super().blob(digest)


async def test_a_service_that_is_placed_again_has_nothing_of_its_former_placement(tmp_path: Path) -> None:
    store = GatedStore(adding(1), adding(2))
    ones, twos = store.digests
    kept = tmp_path / "services" / "a" / "placement.json"
    former, newer = placement("a", ones, generation=5), placement("a", twos)
    newer["metadata"]["uid"] = "newer"
    async with node(tmp_path, store) as services:
        services.replace([former])
        await eventually(kept.exists)
        store.gate.clear()
        services.remove(former)
        services.change(newer)
        (placed,) = services.placed
        await placed.from_disk.wait()
        assert placed.generations.table is None
        assert placed.report().generation == 0
        store.gate.set()
        await eventually(lambda: _ready(services, "a"))
        assert await sum_of(services, "a") == 2.0
        await eventually(kept.exists)
        assert orjson.loads(kept.read_bytes())["metadata"]["generation"] == 1


async def test_a_placement_that_replaces_another_is_not_reported_by_the_generation_of_that(
    tmp_path: Path,
) -> None:
    store = GatedStore(adding(1), adding(2))
    former, newer = (placement("a", digest) for digest in store.digests)
    former["metadata"] |= {"uid": "former", "generation": 5}
    newer["metadata"]["uid"] = "newer"
    kept = tmp_path / "services" / "a" / "placement.json"
    async with node(tmp_path, store) as services:
        services.replace([former])
        await eventually(kept.exists)
        store.gate.clear()
        services.replace([newer])  # of which no watch reported the deletion and the creation
        (placed,) = services.placed
        assert (placed.report().generation, placed.report().loaded) == (0, False)
        assert await sum_of(services, "a") == 1.0
        store.gate.set()
        await eventually(lambda: placed.report().loaded)
        assert placed.report().generation == 1
        await eventually(lambda: orjson.loads(kept.read_bytes())["metadata"]["uid"] == "newer")
    store.gate.clear()
    newest = placement("a", MISSING)
    newest["metadata"]["uid"] = "newest"
    async with node(tmp_path, store) as services:
        services.replace([newest])
        (placed,) = services.placed
        await placed.from_disk.wait()
        assert await sum_of(services, "a") == 2.0
        assert (placed.report().generation, placed.report().loaded) == (0, False)
        store.gate.set()
        await eventually(lambda: placed.report().reason == "CannotLoad")
        assert placed.report().generation == 1


async def test_a_late_write_does_not_bring_the_files_of_a_removed_service_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SmallStore(adding(1))
    document = placement("a", store.digests[0])
    begun, gate, ended = Event(), Event(), Event()
    keep = LastPlacements.keep

    def late(self: LastPlacements, kept: Json) -> None:
        begun.set()
        gate.wait(20)
        keep(self, kept)
        ended.set()

    monkeypatch.setattr(LastPlacements, "keep", late)
    async with node(tmp_path, store) as services:
        services.replace([document])
        await eventually(begun.is_set)
        services.remove(document)
        await eventually(lambda: not list((tmp_path / "slices").iterdir()))
        gate.set()
        await eventually(ended.is_set)
        assert not (tmp_path / "services" / "a").exists()


async def test_a_service_that_is_removed_and_placed_many_times_keeps_its_files(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    digests = store.digests
    kept = tmp_path / "services" / "a" / "placement.json"
    async with node(tmp_path, store) as services:
        for turn in range(20):
            services.change(placement("a", digests[turn % 2], generation=turn + 1))
            services.remove(placement("a", digests[turn % 2]))
        services.change(placement("a", digests[0], generation=21))
        await eventually(lambda: _ready(services, "a"))
        await eventually(kept.exists)
        assert orjson.loads(kept.read_bytes())["metadata"]["generation"] == 21
        assert await sum_of(services, "a") == 1.0


class Garbled:
    """An API server whose first response is not JSON."""

    def __init__(self, document: Json) -> None:
        self.document, self.calls, self.last = document, 0, dict[str, Any]()

    async def write_status(self, name: str, status: dict[str, Any]) -> Json:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("unexpected end of data")
        self.last = status
        return self.document


async def test_a_status_is_written_again_after_an_unexpected_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_services, "_RESTART", 0.01)
    store = SmallStore(adding(1))
    document = placement("ones", store.digests[0])
    garbled = Garbled(document)
    async with node(tmp_path, store, statuses=garbled) as services:
        services.replace([document])
        await eventually(lambda: garbled.last.get("loaded", False))


async def test_a_link_whose_probe_changes_while_no_route_uses_it_is_measured_once(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    local = placement("a", digest, generation=2)
    local["spec"]["link"] = {"peer": "cloud", "probe": "http://127.0.0.1:2", "interval": "10s"}
    async with node(tmp_path, store) as services:
        services.replace([through(placement("a", digest), NOWHERE)])
        (placed,) = services.placed
        await eventually(lambda: placed.generations.loaded)
        former = placed.generations.link
        assert isinstance(former, LinkMonitor)
        services.change(local)
        await eventually(lambda: placed.generations.generation == 2)
        newer = placed.generations.link
        assert isinstance(newer, LinkMonitor)
        assert newer is not former
        assert newer.spec.probe == "http://127.0.0.1:2"
        assert newer.measuring
        await eventually(lambda: not former.measuring)
        services.remove(local)
        await eventually(lambda: not newer.measuring)


async def test_a_slice_that_is_fetched_while_the_disk_is_cleaned_stays_there(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    gate, waiting = asyncio.Event(), asyncio.Event()
    slices, kept = tmp_path / "slices", tmp_path / "services" / "second" / "placement.json"

    async def slow() -> set[str]:
        waiting.set()
        await gate.wait()
        return set()

    async with node(tmp_path, store) as services:
        services.replace([placement("first", ones), placement("second", MISSING)])
        await eventually(lambda: services.models.ready and _ready(services, "first"))
        resources = services.placed[0].generations.resources
        resources.hold_slices("slow", slow)
        services.change(placement("first", ones, generation=2))
        await waiting.wait()
        services.change(placement("second", twos, generation=2))
        await eventually(kept.exists)
        gate.set()
        await resources.clean_disk()
        names = {f"sha256:{path.name}" for path in slices.iterdir()}
        assert names == {ones, twos}


async def test_services_that_are_gone_leave_no_objects_behind(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests

    async def added_and_removed(services: NodeServices, number: int) -> None:
        document = through(placement(f"service-{number}", digest), NOWHERE)
        services.change(document)
        await eventually(lambda: _ready(services, f"service-{number}"))
        services.remove(document)
        await eventually(lambda: not (tmp_path / "services" / f"service-{number}").exists())

    def counted() -> int:
        gc.collect()
        # By their types: an instance check follows weak references, of which some lead nowhere.
        return sum(issubclass(type(found), (PlacedService, LinkMonitor)) for found in gc.get_objects())

    async with node(tmp_path, store) as services:
        services.replace([])
        for number in range(20):
            await added_and_removed(services, number)
        await eventually(lambda: counted() <= 1)


async def test_a_process_is_ready_once_it_has_the_table_that_the_one_before_it_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placed_services, "_RETRY", 0.01)
    monkeypatch.setattr(placed_services, "_AWAITED", math.inf)
    store = SmallStore(adding(1))
    (digest,) = store.digests
    store.lost = {digest}
    async with node(tmp_path, store) as services:
        services.replace([placement("a", digest) | {"status": {"loaded": True, "observedGeneration": 1}}])
        (placed,) = services.placed
        await eventually(lambda: placed.generations.reason == "CannotLoad")
        services.change(placement("a", digest) | {"status": {"loaded": False, "observedGeneration": 1}})
        attempts = store.asked
        await eventually(lambda: store.asked > attempts + 1)
        assert not services.settled
        store.lost = set()
        await eventually(lambda: services.settled)
        assert await sum_of(services, "a") == 1.0


@pytest.mark.parametrize(("loaded", "awaited"), [(False, math.inf), (True, 0.0)])
async def test_a_process_is_ready_without_a_table_that_nothing_served_or_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool, awaited: float
) -> None:
    monkeypatch.setattr(placed_services, "_AWAITED", awaited)
    store = SmallStore(adding(1))
    (digest,) = store.digests
    store.lost = {digest}
    async with node(tmp_path, store) as services:
        services.replace([placement("a", digest) | {"status": {"loaded": loaded, "observedGeneration": 1}}])
        await eventually(lambda: services.settled)
        assert [placed.generations.reason for placed in services.placed] == ["CannotLoad"]
