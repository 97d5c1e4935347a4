"""The runtime executes what the operator writes: both ends of the Placement and of the store."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import onnxruntime
import pytest

import measuring
from edge_api import DevicePool, InferenceService, Placement
from edge_api.inferenceservices import Mode
from edge_api.placement_reports import PlacementStatus
from edge_operator.pool import manifests, rendering, slo
from edge_operator.pool_nodes import Node, PoolMember
from edge_operator.store import ModelStore
from edge_operator.store_answers import DeviceProfile, ModelCard
from edge_planning import Plan, plan_entry
from edge_runtime import assignment, model_store
from edge_runtime.assignment import parse_placement
from edge_runtime.errors import BadPlacement
from edge_runtime.routing.hops import Hop
from edge_runtime.routing.loaded_tables import LoadedTable, load_table
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.status import Counted, LinkReport, Report, Summary, Window, status_document
from edge_runtime.status_reports import StatusReports

POOL = DevicePool.model_validate(
    {
        "metadata": {"name": "factory"},
        "spec": {
            "nodes": [{"tier": "Edge", "deviceClass": "camera", "nodeSelector": {"tier": "edge"}}],
            "tritonServers": [
                {
                    "name": "cloud",
                    "httpAddress": "triton.test:8000",
                    "deviceClass": "cloud",
                    "backend": "python",
                    "nodeSelector": {"tier": "cloud"},
                }
            ],
        },
    }
)


@dataclass(frozen=True)
class Store:
    """The store for the operator, with the model registered and profiled on two synthetic classes."""

    client: ModelStore
    card: ModelCard
    costs: dict[str, DeviceProfile]


@pytest.fixture(scope="session")
def store(store_url: str) -> Iterator[Store]:
    with httpx.Client() as connections:
        yield _profiled(ModelStore(store_url, connections))


def _profiled(client: ModelStore) -> Store:
    service = _service("Auto")
    card = client.register(service.spec.model)
    # The runtime measures and stores; then the numbers are replaced by those of a slow node and a fast
    # server, so that the plan below has a choice.
    for name in ("camera", "cloud"):
        asyncio.run(measuring.profiled(model_store.ModelStore(client.url), card.digest, name))
    measured = {name: client.profile(card.digest, measuring.SELECTION, name) for name in ("camera", "cloud")}
    return Store(
        client,
        card,
        {
            "camera": _made(measured["camera"], 0.030),
            "cloud": _made(measured["cloud"], 0.001),
        },
    )


def _made(profile: DeviceProfile | None, seconds: float) -> DeviceProfile:
    assert profile is not None
    assert {(s.start, s.end) for s in profile.segments} >= {("image", "hidden"), ("deep", "logits")}
    assert [e.exit for e in profile.exits] == ["early", "final"]
    segments = tuple(
        s.model_copy(update={"mean_seconds": seconds, "p95_seconds": seconds}) for s in profile.segments
    )
    lengths = {"early": 2, "final": 3}
    exits = tuple(
        e.model_copy(
            update={"mean_seconds": lengths[e.exit] * seconds, "p95_seconds": lengths[e.exit] * seconds}
        )
        for e in profile.exits
    )
    return profile.model_copy(update={"segments": segments, "exits": exits})


def _service(mode: Mode) -> InferenceService:
    return InferenceService.model_validate(
        {
            "metadata": {"name": "two", "namespace": "shop", "uid": "u-1"},
            "spec": {
                "model": {"storageUri": "store://two/exits.onnx"},
                "slo": {"latency": "70ms"},
                "devicePool": "factory",
                "mode": mode,
            },
        }
    )


def _placed(store: Store, mode: Mode = "Auto") -> Placement:
    service = _service(mode)
    member = PoolMember(Node("edge-a", {}, ready=True), "camera")
    plan = plan_entry(
        manifests.entry_problem(
            service.spec,
            manifests.planned_model("two", store.card),
            store.costs,
            member,
            remote="cloud",
            peer="cloud",
            rtt=0.001,
            bandwidth=None,
        )
    )
    assert isinstance(plan, Plan), plan
    keys = rendering.needed_slices(store.card, [plan.table])
    slices = {key: store.client.slice(*key) for key in keys}
    body = service.body()
    return rendering.placement(
        body,
        service.spec,
        member,
        POOL.spec,
        card=store.card,
        table=plan.table,
        slices=slices,
        server=POOL.spec.triton_servers[0],
        rtt=0.001,
    )


def _received(placement: Placement) -> assignment.Placement:
    """The placement as the API server returns it: plain JSON values, with a generation."""
    body = placement.body()
    return parse_placement({**body, "metadata": {**body["metadata"], "generation": 3}})


def test_the_runtime_reads_from_a_placement_what_the_operator_meant(store: Store) -> None:
    written = _placed(store)
    read = _received(written)
    assert (read.name, read.namespace, read.generation) == ("two.edge-a", "shop", 3)
    assert read.spec.slo.latency == pytest.approx(0.070)
    assert read.spec.link is not None
    assert (read.spec.link.probe, read.spec.link.interval) == ("http://triton.test:8000/v2/health/live", 2.0)
    assert [(r.name, r.exit, r.cut) for r in read.spec.routes] == [
        (r.name, r.exit, r.cut) for r in written.spec.routes
    ]
    assert [r.min_bandwidth for r in read.spec.routes] == [
        float(r.min_bandwidth) for r in written.spec.routes
    ]
    assert [r.predicted_latency for r in read.spec.routes] == pytest.approx(
        [float(r.predicted_latency) for r in written.spec.routes],
        rel=1e-3,  # objects carry four digits
    )
    assert {s.address for r in read.spec.routes for s in r.stages} == {None, "http://triton.test:8000"}
    # Slow node, fast server, 70 ms: the full model with bandwidth, the early exit without.
    assert read.spec.routes[0].exit == "final"
    assert read.spec.routes[-1].name == "early@local"


def test_the_runtime_knows_every_field_that_the_operator_writes(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    _received(_placed(store))
    assert [r.message for r in caplog.records if "ignored" in r.message] == []


@pytest.mark.parametrize("mode", ["Auto", "LocalOnly", "CloudOnly", "PartitionOnly", "RightSizingOnly"])
def test_every_modes_routes_load_and_their_slices_compose_to_the_whole_model(
    store: Store, store_url: str, model: bytes, mode: Mode, tmp_path: Path
) -> None:
    placement = _received(_placed(store, mode))
    table = asyncio.run(_load(placement, store_url, tmp_path))
    whole = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    for loaded, route in zip(table.routes, placement.spec.routes, strict=True):
        (output,) = next(e.outputs for e in store.card.exits if e.name == route.exit)
        value = image
        for stage in route.stages:
            with store.client.blob(stage.slice.digest) as blob:
                content = b"".join(blob.chunks)
            tail = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            (value,) = tail.run([stage.slice.outputs[0].name], {stage.slice.inputs[0].name: value})
        np.testing.assert_array_equal(value, whole.run([output], {"image": image})[0])
        assert (loaded.hop is not None) == (route.remote is not None)
    assert (table.local is None) == (mode == "CloudOnly")


def test_a_route_that_is_planned_without_other_requests_needs_its_bandwidth_also_alone(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    table = asyncio.run(_load(_received(_placed(store, "Auto")), store_url, tmp_path))
    needs = [(one.alone, one.min_bandwidth) for one in table.requirements if one.remote]
    assert needs
    assert all(alone == pytest.approx(least, rel=0.02) for alone, least in needs)


async def _load(placement: assignment.Placement, url: str, folder: Path) -> LoadedTable:
    client = model_store.ModelStore(url)
    loader = SliceLoader(model_store.SliceCache(folder, client), None)
    # No hop is loaded here: the tail runs in Triton, which tests/e2e covers.
    table = await load_table(placement, loader, lambda _: cast("Hop", object()), None)
    loader.close()
    client.close()
    return table


def test_the_operator_reads_from_a_status_what_the_runtime_measured() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    document = status_document(
        Report(
            generation=3,
            loaded=True,
            message="",
            route="final@hidden",
            exit="final",
            cut="hidden",
            link=LinkReport(True, 3_920_000.4, 3_100_000.0, 0.0008, now),
            summary=Summary(812, 806, 0.041, 0.077),
            now=now,
            counted=Counted(90_812, 90_230, now),
            slo_met=True,
            unpacked=["sha256:" + "a" * 64],
        )
    )
    status = PlacementStatus.model_validate(document)
    assert status.link is not None
    assert status.latency is not None
    assert status.link.round_trip is not None
    assert status.unpacked == ("sha256:" + "a" * 64,)
    assert (status.link.state, status.link.bandwidth, status.link.measured_at) == ("Up", 3_920_000, now)
    assert float(status.link.round_trip) == pytest.approx(0.0008)
    assert (float(status.latency.p50), float(status.latency.p95)) == pytest.approx((0.041, 0.077))
    assert status.attainment is not None
    assert float(status.attainment) == pytest.approx(806 / 812, abs=5e-4)
    assert (status.observed_generation, status.loaded, status.active_route) == (3, True, "final@hidden")
    assert (status.requests, status.met, status.since, status.slo_met) == (90_812, 90_230, now, True)


def test_the_operator_counts_what_the_runtime_reports_also_over_a_restart_of_it(store: Store) -> None:
    since = datetime(2026, 1, 2, tzinfo=UTC)
    window, placed = Window(), _placed(store)
    body = placed.body() | {"metadata": placed.body()["metadata"] | {"uid": "u-1"}}
    tally = slo.begun(slo.counters({"edge-b": Placement.model_validate(body)}), None)
    reports, found = StatusReports(window, lambda: 0.0, lambda: since), slo.NOTHING
    for restarted in (False, True):
        if restarted:
            window = Window()
            reports = StatusReports(window, lambda: 0.0, lambda: since)
        reports.found(body)
        for n in range(100):
            window.add(0.0, 0.1, met=n >= 3)
        report = Report(1, True, "", "r", "final", "local", None, window.summary(0.0), since)
        written = status_document(reports.complete(report, None))
        body["status"] = {name: value for name, value in written.items() if value is not None}
        read = {"edge-b": Placement.model_validate(body)}
        found = slo.increase(tally, slo.counters(read))
    assert found == (200, 194)


def test_a_status_before_the_first_request_and_measurement_is_read_as_well() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    nothing = Summary(0, 0, None, None)
    said = Report(1, False, "slice missing", "", "", "", None, nothing, now, "CannotLoad")
    status = PlacementStatus.model_validate(status_document(said))
    assert (status.loaded, status.message, status.reason) == (False, "slice missing", "CannotLoad")
    assert (status.link, status.attainment) == (None, None)


def test_a_field_that_the_runtime_cannot_do_without_is_named_when_it_is_missing(store: Store) -> None:
    body: dict[str, Any] = _placed(store).body()
    del body["spec"]["routes"][0]["exit"]
    with pytest.raises(BadPlacement, match=r"spec\.routes\[0\]\.exit"):
        parse_placement(body)
