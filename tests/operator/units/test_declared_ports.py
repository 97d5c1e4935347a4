"""From the YAML of service and pool to the ports in Placements, and to the Jobs of the units."""

from typing import Any

from edge_api import reasons
from edge_operator.clients import Clock
from edge_operator.cluster import JOBS
from edge_operator.loops.host_units import reconcile_units

PORTS = {"type": "NodePort", "httpPort": 30080, "grpcPort": 30081}


def survive(world: Any, *, value: bool = True) -> None:
    pool = world.pool()
    pool["spec"]["nodes"][1]["survivesReboot"] = value
    world.cluster.put(pool)


def host_ports(world: Any) -> dict[str, Any]:
    return {node: placed["spec"].get("hostPorts") for node, placed in world.placements().items()}


def units(world: Any) -> list[str]:
    jobs = world.cluster.find(JOBS, world.settings.namespace, "app.kubernetes.io/component=host-unit")
    return sorted(job["metadata"]["name"] for job in jobs)


def end(world: Any, name: str) -> None:
    """Has a Job of a unit complete."""
    job = world.cluster.get(JOBS, world.settings.namespace, name)
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.cluster.put(job)


def test_placements_of_nodes_with_the_unit_have_the_declared_ports(world: Any) -> None:
    survive(world)
    world.change(exposure=PORTS)
    world.settle()
    found = host_ports(world)
    assert {node for node, ports in found.items() if ports is not None} == {"cam-1", "cam-2"}
    assert found["cam-1"] == {"http": 30080, "grpc": 30081}


def test_ports_that_kubernetes_chooses_are_left_out(world: Any) -> None:
    survive(world)
    world.change(exposure={"type": "NodePort"})
    world.settle()
    assert set(host_ports(world).values()) == {None}


def test_without_survives_reboot_placements_stay_as_they_were(world: Any) -> None:
    world.change(exposure=PORTS)
    world.settle()
    assert set(host_ports(world).values()) == {None}


def test_the_units_of_a_pool_come_and_go_with_its_field(world: Any) -> None:
    cluster, settings, clock = world.cluster, world.settings, Clock()
    assert reconcile_units(cluster, settings, clock) == ({}, None)
    survive(world)
    found, _ = reconcile_units(cluster, settings, clock)
    assert found["factory"].reason == reasons.UNITS_INSTALLING
    assert units(world) == ["install-unit-cam-1", "install-unit-cam-2"]
    for name in units(world):
        end(world, name)
    assert reconcile_units(cluster, settings, clock)[0]["factory"].reason == reasons.UNITS_INSTALLED
    survive(world, value=False)
    assert reconcile_units(cluster, settings, clock)[0] == {}
    assert "remove-unit-cam-1" in units(world)
    for name in ("remove-unit-cam-1", "remove-unit-cam-2"):
        end(world, name)
    assert reconcile_units(cluster, settings, clock) == ({}, None)
    assert units(world) == []


def test_the_pool_reports_the_condition(world: Any) -> None:
    survive(world)
    found, _ = reconcile_units(world.cluster, world.settings, Clock())
    world.report_pool(units=found["factory"])
    conditions = {each["type"]: each for each in world.pool()["status"]["conditions"]}
    assert conditions["SurvivesReboot"]["reason"] == reasons.UNITS_INSTALLING
    assert conditions["SurvivesReboot"]["status"] == "Unknown"
