"""A device sends to an edge node, which sends to Triton: intermediate slices come first and go last."""

from collections.abc import Iterable
from typing import Any

import pytest

from edge_operator.pool import demands
from edge_operator.pool_nodes import PoolMember, intermediate_nodes


@pytest.fixture
def tiers(world: Any) -> Any:
    """Cameras are devices, and slow; the gateway is an edge node, and fast; only cameras take requests."""
    pool = world.pool()
    pool["spec"]["nodes"][1]["tier"] = "Device"
    world.cluster.put(pool)
    world.change(entryNodes={"nodeSelector": {"class": "camera"}})
    gateway = world.store.profiles["gateway"]
    world.store.profiles["gateway"] = _scaled(gateway, 0.1)
    return world


def _scaled(profile: Any, scale: float) -> Any:
    def smaller(times: Any) -> Any:
        return tuple(
            t.model_copy(
                update={"mean_seconds": t.mean_seconds * scale, "p95_seconds": t.p95_seconds * scale}
            )
            for t in times
        )

    return profile.model_copy(update={"segments": smaller(profile.segments), "exits": smaller(profile.exits)})


def places(route: Any) -> list[str]:
    return [stage["place"] for stage in route["stages"]]


def intermediate_slices(body: Any) -> dict[str, Any]:
    return {each["model"]: each for each in body["spec"].get("intermediateSlices", [])}


def used(body: Any) -> set[str]:
    """Models at the gateway that a table's routes use."""
    stages = [s for route in body["spec"]["routes"] for s in route["stages"] if "address" in s]
    return {s["model"] for s in stages if s["place"] == "gate"}


def test_forwarding_stages_are_published_and_ready_before_a_table_uses_them(tiers: Any) -> None:
    tiers.reconcile()
    found = tiers.placements()
    assert used(found["cam-1"]) == set()
    assert found["cam-1"]["spec"]["routes"][-1]["cut"] == "local"
    assert intermediate_slices(found["gate"])
    assert "gate follow" in tiers.condition("Placed")["message"]
    tiers.reconcile()
    assert used(tiers.placements()["cam-1"]) == set(), "the gateway has not reported yet"
    tiers.runtimes_report()
    tiers.reconcile()
    found = tiers.placements()
    assert used(found["cam-1"])
    assert used(found["cam-1"]) <= set(intermediate_slices(found["gate"]))
    applied = [line for line in tiers.log if line.startswith("apply Placement")]
    assert applied.index("apply Placement digits.gate") < applied.index("apply Placement digits.cam-1")


def test_a_forwarding_stage_matches_the_stages_of_the_route(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    found = tiers.placements()
    route = next(r for r in found["cam-1"]["spec"]["routes"] if "gate" in places(r))
    position = places(route).index("gate")
    stage, behind = route["stages"][position], route["stages"][position + 1 :]
    intermediate = intermediate_slices(found["gate"])[stage["model"]]
    assert intermediate["stages"] == [
        {k: v for k, v in stage.items() if k not in ("address", "model")},
        *behind,
    ]
    assert stage["runtime"] == "Edge"
    assert stage["address"] == "http://edge-runtime-gate.default.svc.cluster.local:8080"
    assert len(route["codecs"]) == len([s for s in route["stages"] if "address" in s])


def test_an_intermediate_node_has_a_runtime_and_is_not_an_entry_node_of_the_service(tiers: Any) -> None:
    tiers.settle()
    assert tiers.deployments() == ["edge-runtime-cam-1", "edge-runtime-cam-2", "edge-runtime-gate"]
    assert [entry["node"] for entry in tiers.service()["status"]["entries"]] == ["cam-1", "cam-2"]
    assert tiers.placements()["gate"]["spec"]["routes"][-1]["cut"] == "local"


def test_a_silent_intermediate_node_does_not_make_the_service_unready(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    gate = tiers.placements()["gate"]
    tiers.cluster.objects["Placement", "default", gate["metadata"]["name"]].pop("status")
    tiers.reconcile()
    assert tiers.condition("Ready")["status"] == "True"


def test_forwarding_stages_outlive_the_tables_that_used_them(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    before = intermediate_slices(tiers.placements()["gate"])
    tiers.change(mode="LocalOnly")
    tiers.reconcile()
    assert used(tiers.placements()["cam-1"]) == set()
    assert intermediate_slices(tiers.placements()["gate"]) == before, (
        "requests on the old table may be under way"
    )
    assert "edge-runtime-gate" in tiers.deployments()
    tiers.runtimes_report()
    tiers.reconcile()
    assert "gate" not in tiers.placements()
    assert tiers.deployments() == ["edge-runtime-cam-1", "edge-runtime-cam-2"]


def test_the_plan_leaves_out_an_intermediate_node_that_was_deleted(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    tiers.node("gate", "gateway", ready=False)
    tiers.reconcile()
    assert used(tiers.placements()["cam-1"]) == set()
    tiers.runtimes_report()
    tiers.reconcile()
    assert "gate" not in tiers.placements()


def test_a_new_table_of_an_intermediate_node_keeps_its_forwarding_stages(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    asked = used(tiers.placements()["cam-1"])
    gate = tiers.placements()["gate"]
    gate["spec"]["slo"]["latency"] = "91ms"
    tiers.cluster.put(gate)
    tiers.reconcile()
    assert used(tiers.placements()["cam-1"]) == asked


def test_the_class_of_an_intermediate_node_is_measured_without_waiting_for_it(tiers: Any) -> None:
    profile = tiers.store.profiles.pop("gateway")
    tiers.settle()
    assert sorted(tiers.placements()) == ["cam-1", "cam-2"]
    assert [job["metadata"]["name"].split("-")[1] for job in tiers.jobs()] == ["gateway"]
    assert tiers.condition("Ready")["status"] == "True"
    tiers.store.profiles["gateway"] = profile
    tiers.settle()
    assert "gate" in tiers.placements()


def test_a_pool_without_intermediate_nodes_has_no_forwarding_stages(world: Any) -> None:
    world.settle()
    assert [name for body in world.placements().values() for name in intermediate_slices(body)] == []
    assert {p for b in world.placements().values() for r in b["spec"]["routes"] for p in places(r)} == {
        "cam-1", "cam-2", "gate", "cloud",
    }  # fmt: skip


def test_tails_behind_an_intermediate_node_are_unloaded_with_the_service(tiers: Any) -> None:
    tiers.settle()
    tiers.settle()
    tails = {
        stage["model"]
        for intermediate in intermediate_slices(tiers.placements()["gate"]).values()
        for stage in intermediate["stages"]
        if stage["runtime"] == "Triton"
    }
    tiers.now += 100
    tiers.reconcile()
    assert tails <= tiers.triton.models


def test_a_node_may_take_requests_and_help_others_at_once(tiers: Any) -> None:
    service = tiers.service()
    del service["spec"]["entryNodes"]
    tiers.cluster.put(service)
    tiers.settle()
    tiers.settle()
    found = tiers.placements()
    assert used(found["cam-1"]) | used(found["cam-2"]) == set(intermediate_slices(found["gate"]))
    assert [entry["node"] for entry in tiers.service()["status"]["entries"]] == ["cam-1", "cam-2", "gate"]
    assert used(found["gate"]) == set(), "an edge node sends to Triton only"


def test_planning_n_devices_searches_for_their_intermediate_nodes_in_proportion_to_n(
    tiers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3, 13):
        tiers.node(f"cam-{index}", "camera")
    tiers.change(load={"rate": 10})
    searches = []

    def counted(entry: PoolMember, pool: Iterable[PoolMember]) -> tuple[PoolMember, ...]:
        searches.append(entry.node.name)
        return intermediate_nodes(entry, pool)

    monkeypatch.setattr(demands, "intermediate_nodes", counted)
    tiers.reconcile()
    cameras = sorted(set(searches) - {"gate"})
    assert len(cameras) == 12
    assert len({searches.count(name) for name in cameras}) == 1


def local_link(body: Any) -> Any:
    """The link to the gateway in a camera's Placement; None without one."""
    return next(iter(body["spec"].get("localLinks") or ()), None)


def test_the_link_to_an_intermediate_node_is_planned_as_declared_and_then_as_measured(tiers: Any) -> None:
    for _ in range(3):
        tiers.settle()
    before = tiers.placements()["cam-1"]
    assert local_link(before) == {
        "peer": "gate",
        "probe": "http://edge-runtime-gate.default.svc.cluster.local:8080/v1/probe",
        "interval": "2s",
        "budget": "16Mi",
        "bandwidth": "1G",
        "declared": "1G",
        "roundTrip": "1ms",
    }
    assert used(before)
    tiers.runtimes_report(localLinks=[{"peer": "gate", "state": "Up", "bandwidth": "50k"}])
    tiers.reconcile()
    after = tiers.placements()["cam-1"]
    assert (local_link(after)["bandwidth"], local_link(after)["declared"]) == ("50k", "1G")
    assert used(after) == set(), "no route crosses a link that is too slow"
    applied = len(tiers.log)
    tiers.reconcile()
    assert not [line for line in tiers.log[applied:] if line.startswith("apply Placement digits.cam")]
