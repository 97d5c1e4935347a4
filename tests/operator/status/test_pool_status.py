"""A pool's status lists its nodes and names the selectors that select none."""

from dataclasses import replace
from typing import Any

from messages import mentions

World = Any  # tests/operator/conftest.py


def _reconcile(world: World) -> dict[str, Any]:
    world.report_pool()
    status: dict[str, Any] = world.pool()["status"]
    return status


def test_a_pool_lists_its_nodes_with_their_classes(world: World) -> None:
    status = _reconcile(world)
    assert status["nodeCount"] == 3
    assert status["nodes"][0] == {"name": "cam-1", "deviceClass": "camera"}
    assert status["conditions"][0]["status"] == "True"


def test_a_group_that_selects_no_node_is_named(world: World) -> None:
    world.remove_node("gate")
    condition = _reconcile(world)["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "NoNodes")
    assert 'spec.nodes[0].nodeSelector: "class=gateway"' in condition["message"]


def test_a_pool_that_asks_for_tls_without_certificates_says_where_they_are_missing(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["scheme"] = "HTTPS"
    world.cluster.put(pool)
    condition = _reconcile(world)["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "NoCertificates")
    assert 'spec.tritonServers[0].scheme: "HTTPS"' in condition["message"]
    assert mentions("operator.tlsSecret", "runtime.tlsSecret").search(condition["message"])
    world.settings = replace(world.settings, tls_dir="/etc/edge/tls", tls_secret="edge-runtimes")
    assert _reconcile(world)["conditions"][0]["status"] == "True"


def test_a_pool_says_which_certificates_cannot_be_issued(world: World) -> None:
    failures = {"edge-intelligence": ("Secret edge-intelligence/model-store-tls: belongs to another",)}
    world.report_pool(certificates=failures)
    conditions = {each["type"]: each for each in world.pool()["status"]["conditions"]}
    found = conditions["CertificatesIssued"]
    assert (found["status"], found["reason"]) == ("False", "IssuingFailed")
    assert "edge-intelligence/model-store-tls" in found["message"]
    assert conditions["Ready"]["status"] == "True"
    world.report_pool(certificates={})
    conditions = {each["type"]: each for each in world.pool()["status"]["conditions"]}
    assert (conditions["CertificatesIssued"]["status"], conditions["CertificatesIssued"]["reason"]) == (
        "True",
        "Issued",
    )
    world.report_pool()
    assert [each["type"] for each in world.pool()["status"]["conditions"]] == ["Ready", "ControlOpen"]


def test_an_unchanged_pool_is_not_written_again(world: World) -> None:
    _reconcile(world)
    writes = world.cluster.status_writes
    world.now += 100
    _reconcile(world)
    assert world.cluster.status_writes == writes


def test_a_tier_that_an_earlier_version_stored_is_read_and_named(world: World) -> None:
    pool = world.pool()
    pool["spec"]["nodes"][1]["tier"] = "device"
    world.cluster.put(pool)
    condition = _reconcile(world)["conditions"][0]
    assert condition["status"] == "True"
    assert mentions("spec.nodes[1].tier", '"device"', "Device").search(condition["message"])
