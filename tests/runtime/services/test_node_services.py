"""One process serves all services of a namespace at its node, each as if it were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from edge_api.quantities import Bandwidth
from edge_api.told_links import LINKS_ANNOTATION, ToldLink, write_links
from edge_runtime.errors import NotReady, UnknownModel
from edge_runtime.grpc.servicer import Servicer
from edge_runtime.json_values import Json
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.metrics import joint_exposition
from edge_runtime.node_services import NodeServices
from messages import mentions
from placed import NOWHERE, SmallStore, adding, eventually, node, placed_service, placement, sum_of, through

MISSING = f"sha256:{'0' * 64}"


def _ready(services: NodeServices, *names: str) -> bool:
    ready = {entry["name"] for entry in services.models.index(only_ready=True)}
    return ready == set(names)


def _settled(services: NodeServices) -> bool:
    return services.models.ready


def _measuring(link: LinkMonitor) -> bool:
    return link.measuring


async def test_every_service_of_the_node_is_served_by_its_own_table(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    async with node(tmp_path, store) as services:
        services.replace([placement("ones", ones), placement("twos", twos)])
        await eventually(lambda: _ready(services, "ones", "twos"))
        assert [await sum_of(services, name) for name in ("ones", "twos")] == [1.0, 2.0]
        with pytest.raises(UnknownModel, match=mentions("threes", "ones, twos")):
            services.models.check("threes")


async def test_placements_of_other_nodes_and_of_dedicated_runtimes_are_left_to_them(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    async with node(tmp_path, store) as services:
        services.replace(
            [
                placement("ones", digest),
                placement("away", digest, node="edge-b"),
                placement("alone", digest, isolation="Dedicated"),
            ]
        )
        await eventually(lambda: _ready(services, "ones"))
        services.change(placement("ones", digest, isolation="Dedicated"))
        with pytest.raises(UnknownModel):
            services.models.check("ones")


async def test_services_share_an_equal_slice_in_memory_and_on_disk(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    async with node(tmp_path, store) as services:
        services.replace([placement("first", digest), placement("second", digest)])
        await eventually(lambda: _ready(services, "first", "second"))
        tables = [placed.generations.table for placed in services.placed]
        sessions = [table.sessions[digest] for table in tables if table is not None]
        assert len(sessions) == 2
        assert sessions[0] is sessions[1]
        services.remove(placement("first", digest))
        await eventually(lambda: not (tmp_path / "services" / "first").exists())
        assert len(list((tmp_path / "slices").iterdir())) == 1
        assert store.sent == [digest]
        services.remove(placement("second", digest))
        await eventually(lambda: not list((tmp_path / "slices").iterdir()))


async def test_a_placement_that_cannot_be_loaded_makes_only_its_own_service_unready(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    async with node(tmp_path, store) as services:
        assert not services.models.ready
        services.replace([placement("ones", store.digests[0]), placement("lost", MISSING)])
        await eventually(lambda: services.models.ready)
        assert _ready(services, "ones")
        assert not services.models.model_ready("lost")
        with pytest.raises(NotReady, match=mentions("lost", "route final@local", "model store")):
            services.models.contract("lost")
        told = placed_service(services, "lost").report()
        assert not told.loaded
        assert "route final@local" in told.message
        assert placed_service(services, "ones").report().message == ""


async def test_an_unreadable_placement_is_reported_and_affects_no_other(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    bad = placement("bad", MISSING, routes=[])
    async with node(tmp_path, store) as services:
        services.replace([bad, placement("ones", store.digests[0])])
        await eventually(lambda: services.models.ready and _ready(services, "ones"))
        told = placed_service(services, "bad").report()
        assert (told.reason, told.generation) == ("BadPlacement", 1)
        assert "spec.routes" in told.message


async def test_adding_and_removing_a_service_leaves_the_tables_of_others_alone(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    async with node(tmp_path, store) as services:
        services.replace([placement("ones", ones)])
        await eventually(lambda: _ready(services, "ones"))
        table = placed_service(services, "ones").generations.table
        services.change(placement("twos", twos))
        await eventually(lambda: _ready(services, "ones", "twos"))
        services.remove(placement("twos", twos))
        assert _ready(services, "ones")
        services.replace([placement("ones", ones)])
        assert await sum_of(services, "ones") == 1.0
        assert placed_service(services, "ones").generations.table is table


async def test_a_node_without_placements_is_ready_and_later_ones_do_not_change_that(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    async with node(tmp_path, store) as services:
        assert not _settled(services)
        services.replace([])
        assert _settled(services)
        services.change(placement("lost", MISSING))
        assert _settled(services)


async def test_all_services_start_from_the_disk_without_network(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    async with node(tmp_path, store) as services:
        services.replace([placement("ones", ones), placement("twos", twos)])
        files = [tmp_path / "services" / name / "placement.json" for name in ("ones", "twos")]
        await eventually(lambda: all(file.exists() for file in files))
    store.away = True
    async with node(tmp_path, store) as services:
        await services.restored()
        assert services.models.ready
        assert [await sum_of(services, name) for name in ("ones", "twos")] == [1.0, 2.0]
        services.replace([placement("twos", twos)])
        with pytest.raises(UnknownModel):
            services.models.check("ones")
        await eventually(lambda: not files[0].exists())
        assert await sum_of(services, "twos") == 2.0


async def test_of_a_renamed_placement_the_newer_form_of_its_name_counts(tmp_path: Path) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    before, after = placement("a", ones, name="a-edge-a"), placement("a", twos, generation=2)
    async with node(tmp_path, store) as services:
        services.replace([before])
        await eventually(lambda: _ready(services, "a"))
        services.change(after)
        services.change(before)
        await eventually(lambda: placed_service(services, "a").generations.generation == 2)
        services.remove(before)
        assert await sum_of(services, "a") == 2.0


async def test_a_link_has_one_monitor_while_any_service_uses_it(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    async with node(tmp_path, store) as services:
        services.replace([through(placement(name, digest), NOWHERE) for name in ("first", "second")])
        await eventually(lambda: all(placed.generations.loaded for placed in services.placed))
        first, second = (placed.generations.link for placed in services.placed)
        assert isinstance(first, LinkMonitor)
        assert first is second
        services.remove(placement("first", digest))
        await eventually(lambda: not (tmp_path / "services" / "first").exists())
        assert _measuring(first)
        services.remove(placement("second", digest))
        assert not services.placed
        await eventually(lambda: not _measuring(first))


async def test_a_link_that_another_runtime_measures_has_the_values_of_the_placement(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    told = ToldLink(measured="Elsewhere", told="2026-03-01T12:00:00Z", bandwidth=Bandwidth(7_000_000))
    document = through(placement("first", digest), NOWHERE)
    document["metadata"]["annotations"] = {LINKS_ANNOTATION: write_links({"cloud": told})}
    async with node(tmp_path, store) as services:
        services.replace([document])
        await eventually(lambda: placed_service(services, "first").generations.loaded)
        placed = placed_service(services, "first")
        link = placed.generations.link
        assert isinstance(link, LinkMonitor)
        assert link.view().up
        assert link.view().bandwidth == pytest.approx(7e6)
        generation = placed.generations.generation
        down = told.model_copy(update={"told": "2026-03-01T12:00:01Z", "state": "Down"})
        document["metadata"]["annotations"] = {LINKS_ANNOTATION: write_links({"cloud": down})}
        services.change(document)
        assert not link.view().up
        assert placed.generations.generation == generation


async def test_one_services_failure_of_a_hop_opens_the_breaker_of_all(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests
    async with node(tmp_path, store) as services:
        services.replace([through(placement(name, digest), NOWHERE) for name in ("first", "second")])
        await eventually(lambda: all(placed.generations.loaded for placed in services.placed))
        tables = [placed.generations.table for placed in services.placed]
        breakers = services.placed[0].generations.resources.breakers
        assert tables[0] is not None
        assert tables[1] is not None
        hop = tables[0].hops[0]
        assert hop is not None
        breakers.ended(hop, "failed", trial=False, fair=True)
        assert breakers.blocked(tables[1].hops) == {0}


async def test_metrics_have_one_family_with_the_series_of_each_service_that_is_placed(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    (digest,) = store.digests

    def told(services: NodeServices) -> str:
        return joint_exposition(placed.metrics.registry for placed in services.placed).decode()

    async with node(tmp_path, store) as services:
        services.replace([placement("first", digest), placement("second", digest)])
        await eventually(lambda: _ready(services, "first", "second"))
        await sum_of(services, "first")
        text = told(services)
        assert 'edge_slo_requests_total{met="true",namespace="",service="first"} 1.0' in text
        assert 'edge_slo_requests_total{met="true",namespace="",service="second"} 0.0' in text
        assert text.count("# TYPE edge_slo_requests_total counter") == 1
        services.remove(placement("second", digest))
        assert 'service="second"' not in told(services)


async def test_beyond_its_autonomy_a_service_refuses_also_grpc_requests_whose_header_it_has_seen(
    tmp_path: Path,
) -> None:
    store = SmallStore(adding(1), adding(2))
    ones, twos = store.digests
    async with node(tmp_path, store) as services:
        services.replace([placement("ones", ones), placement("twos", twos)])
        await eventually(lambda: _ready(services, "ones", "twos"))
        servicer, messages = Servicer(services.models), {}
        for name in ("ones", "twos"):
            given = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
            request = pb.ModelInferRequest(model_name=name, inputs=[given], raw_input_contents=[bytes(16)])
            messages[name] = request.SerializeToString()
            await servicer.model_infer(messages[name])
        placed_service(services, "ones").service.refusal = "the last contact to the API server was 2h ago"
        with pytest.raises(NotReady, match=mentions("ones", "2h")):
            await servicer.model_infer(messages["ones"])
        assert await servicer.model_infer(messages["twos"])


class Reported:
    """The statuses of one Placement in an API server."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.last: dict[str, dict[str, Any]] = {}

    async def write_status(self, name: str, status: dict[str, Any]) -> Json:
        self.last[name] = status
        return self.document


async def test_requests_since_the_last_report_are_reported_before_the_process_ends(tmp_path: Path) -> None:
    store = SmallStore(adding(1))
    document = placement("ones", store.digests[0])
    reported = Reported(document)
    async with node(tmp_path, store, statuses=reported) as services:
        services.replace([document])
        await eventually(lambda: any(status["loaded"] for status in reported.last.values()))
        for _ in range(3):
            await sum_of(services, "ones")
    (last,) = reported.last.values()
    assert last["requests"] == 3
