"""Ready counts the entry nodes that answer; switches and single entry nodes do not turn it."""

from typing import Any

import pytest

from messages import mentions

World = Any  # tests/operator/conftest.py


def verdicts(world: World) -> dict[str, tuple[str, str]]:
    conditions = world.service()["status"]["conditions"]
    return {c["type"]: (c["status"], c["reason"]) for c in conditions}


def test_a_switch_of_tables_is_progress_and_leaves_ready_alone(world: World) -> None:
    world.settle()
    before = world.condition("Ready")
    world.change(mode="CloudOnly")
    world.now += 10
    world.reconcile()
    assert verdicts(world)["Progressing"] == ("True", "Switching")
    assert "cam-1" in world.condition("Progressing")["message"]
    assert world.service()["status"]["entryCounts"]["updating"] == 3
    world.runtimes_report()
    world.now += 10
    world.reconcile()
    assert verdicts(world)["Progressing"] == ("False", "UpToDate")
    ready = world.condition("Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", before["lastTransitionTime"])
    said = [(reason, message) for _, reason, message in world.cluster.events if message.startswith("Ready")]
    assert len(said) == 1, "Ready turned once, when the service began to serve"


def test_a_ready_service_stays_ready_while_a_new_entry_node_starts(world: World) -> None:
    world.settle()
    world.node("cam-3", "camera")
    world.now += 10
    world.reconcile()
    assert verdicts(world)["Ready"] == ("True", "Serving")
    assert verdicts(world)["Progressing"] == ("True", "Starting")
    assert world.service()["status"]["readyEntries"] == "3/4"


@pytest.mark.parametrize(
    ("wanted", "down", "ready"),
    [
        (None, 1, False),
        (2, 1, True),
        (2, 2, False),
        ("50%", 1, True),
        ("50%", 2, False),
        (0, 3, True),
        (9, 0, True),
    ],
)
def test_ready_needs_the_entry_nodes_that_the_spec_names(
    world: World, wanted: int | str | None, down: int, ready: bool
) -> None:
    if wanted is not None:
        world.change(minReadyEntries=wanted)
    world.settle()
    for node in ("cam-1", "cam-2", "gate")[:down]:
        world.pods_are_ready(at=node, ready=False)
    world.now += 10
    world.reconcile()
    assert (world.condition("Ready")["status"] == "True") is ready
    assert (world.condition("Degraded")["status"] == "True") is (down > 0)


def test_a_service_whose_nodes_are_all_away_is_not_ready(world: World) -> None:
    world.settle()
    for node, device_class in (("cam-1", "camera"), ("cam-2", "camera"), ("gate", "gateway")):
        world.node(node, device_class, ready=False)
    world.now += 10
    world.reconcile()
    assert verdicts(world)["Ready"][0] == "False"


def test_an_entry_node_without_a_feasible_route_does_not_withhold_tables_from_the_others(
    world: World,
) -> None:
    # Without Triton, only the gateway can run the full model in time.
    pool = world.pool()
    del pool["spec"]["tritonServers"]
    world.cluster.put(pool)
    world.change(slo={"latency": "90ms", "minAccuracy": 0.95}, minReadyEntries=1)
    world.settle()
    assert list(world.placements()) == ["gate"]
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "Infeasible")
    assert mentions("no route at cam-1, cam-2", "spec.slo.latency", "nearest feasible latency").search(
        planned["message"]
    )
    assert verdicts(world)["Placed"][0] == "True"
    assert verdicts(world)["Ready"] == ("True", "Serving")
    assert verdicts(world)["Degraded"] == ("True", "Infeasible")
    assert world.service()["status"]["readyEntries"] == "1/3"


def test_an_entry_node_that_becomes_infeasible_keeps_its_former_routes(world: World) -> None:
    pool = world.pool()
    del pool["spec"]["tritonServers"]
    world.cluster.put(pool)
    world.settle()
    former = world.placements()["cam-1"]["spec"]["routes"]
    world.change(slo={"latency": "90ms", "minAccuracy": 0.95})
    world.settle()
    assert world.placements()["cam-1"]["spec"]["routes"] == former
    assert verdicts(world)["Degraded"] == ("True", "Infeasible")
    entry = world.service()["status"]["entries"][0]
    assert entry["node"] == "cam-1"
    assert entry["reason"].endswith("; the previous routes keep serving")


def test_of_many_entry_nodes_the_worst_hundred_are_shown_and_all_are_counted(world: World) -> None:
    for number in range(130):
        world.node(f"n-{number:03}", "camera")
    world.settle()
    world.pods_are_ready(at="n-129", ready=False)
    world.now += 10
    world.reconcile()
    status = world.service()["status"]
    assert len(status["entries"]) == 100
    assert "n-129" in [entry["node"] for entry in status["entries"]]
    assert (status["entryCounts"]["total"], status["entryCounts"]["ready"]) == (133, 132)
    assert status["readyEntries"] == "132/133"
