"""Which nodes get the unit that serves after a reboot, and what a pool reports of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import Object
from edge_operator.nodes.host_unit_jobs import unit_job
from edge_operator.ownership import claim_of
from edge_operator.pool.host_units import RETRY, Seen, UnitActions, decide
from edge_operator.pool_nodes import node_of
from edge_operator.settings import Settings
from messages import mentions
from operator_objects import node_body, pool_body

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
SETTINGS = Settings("http://store:8080", "runtime:1")
CAMERAS = ("camera-1", "camera-2")


def pool(*, survives: bool = True) -> Object:
    body = pool_body()
    body["spec"]["nodes"][1] |= {"survivesReboot": survives}
    return body


def seen(
    *jobs: Object,
    survives: bool = True,
    names: tuple[str, ...] = CAMERAS,
    pods: Mapping[str, tuple[Object, ...]] | None = None,
    labels: dict[str, str] | None = None,
    pools: tuple[Object, ...] | None = None,
) -> Seen:
    nodes = {name: node_of(node_body(name, "camera")) for name in names}
    nodes["gateway"] = node_of(node_body("gateway", "gateway"))
    found = pools if pools is not None else (pool(survives=survives),)
    return Seen(tuple(map(claim_of, found)), nodes, jobs, pods or {}, labels or {})


def job(
    action: Any, node: str, outcome: str = "", *, age: float = 0.0, settings: Settings = SETTINGS
) -> Object:
    """A Job of the node that was created and has ended `age` seconds ago."""
    body = unit_job(action, node, node, settings)
    at = (NOW - datetime.timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
    body["metadata"] |= {"uid": f"{action}-{node}", "creationTimestamp": at}
    if outcome:
        body["status"] = {"conditions": [{"type": outcome, "status": "True", "lastTransitionTime": at}]}
    return body


def failed_pod(message: str) -> Object:
    ended = {"terminated": {"exitCode": 1, "message": message}}
    return {"metadata": {"name": "pod"}, "status": {"containerStatuses": [{"state": ended}]}}


def names(objects: tuple[Object, ...]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in objects)


def reported(actions: UnitActions) -> tuple[str, str, str]:
    (finding,) = actions.findings.values()
    assert finding.type == reasons.SURVIVES_REBOOT
    return finding.status, finding.reason, finding.message


def test_each_node_of_the_group_gets_a_job_and_no_other_node() -> None:
    actions = decide(seen(), SETTINGS, NOW)
    assert names(actions.apply) == ["install-unit-camera-1", "install-unit-camera-2"]
    message = "the unit is being installed on camera-1, camera-2"
    assert reported(actions) == ("Unknown", reasons.UNITS_INSTALLING, message)


def test_by_default_no_node_gets_one() -> None:
    assert decide(seen(survives=False), SETTINGS, NOW) == UnitActions()


def test_installed_units_are_reported_and_cost_nothing_more() -> None:
    done = (job("install", "camera-1", "Complete"), job("install", "camera-2", "Complete"))
    actions = decide(seen(*done), SETTINGS, NOW)
    assert (actions.apply, actions.delete, actions.again) == ((), (), None)
    message = "the unit is installed on camera-1, camera-2"
    assert reported(actions) == ("True", reasons.UNITS_INSTALLED, message)


def test_a_new_image_installs_the_unit_again() -> None:
    before = job("install", "camera-1", "Complete", settings=Settings("http://store:8080", "runtime:0"))
    actions = decide(seen(before, names=("camera-1",)), SETTINGS, NOW)
    assert actions.delete == (before,)
    assert reported(actions)[:2] == ("Unknown", reasons.UNITS_INSTALLING)
    assert names(decide(seen(names=("camera-1",)), SETTINGS, NOW).apply) == ["install-unit-camera-1"]


def test_a_failure_is_reported_with_what_the_job_printed_and_tried_again_later() -> None:
    said = "CannotInstall: the host has no program nft, which leads its ports: install the package nftables"
    failed = job("install", "camera-1", "Failed", age=1.0)
    pods = {"install-unit-camera-1": (failed_pod(f"copying\n{said}\n"),)}
    done = job("install", "camera-2", "Complete")
    actions = decide(seen(failed, done, pods=pods), SETTINGS, NOW)
    assert reported(actions) == ("False", reasons.UNITS_NOT_INSTALLED, f"camera-1: {said}")
    assert actions.delete == ()
    assert actions.again == RETRY.total_seconds() - 1
    later = decide(seen(failed, done, pods=pods), SETTINGS, NOW + RETRY)
    assert later.delete == (failed,)


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_namespace_that_refuses_privileged_pods_is_named_and_gets_no_job(level: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level}
    actions = decide(seen(labels=labels), SETTINGS, NOW)
    assert actions.apply == ()
    status, reason, message = reported(actions)
    assert (status, reason) == ("False", reasons.UNITS_NOT_INSTALLED)
    parts = ("camera-1, camera-2", "namespace edge-intelligence", f'"{level}"', "enforce=privileged")
    assert mentions(*parts, "`edge-runtime install-unit`").search(message)


def test_a_job_without_a_pod_points_to_its_events() -> None:
    refused = job("install", "camera-1", age=61.0)
    message = reported(decide(seen(refused, names=("camera-1",)), SETTINGS, NOW))[2]
    assert message.startswith("camera-1: Job edge-intelligence/install-unit-camera-1 has no pod: its events")


def test_clients_with_tls_cannot_be_answered_without_kubernetes() -> None:
    settings = Settings("http://store:8080", "runtime:1", tls_secret="certificates")
    actions = decide(seen(), settings, NOW)
    assert actions.apply == ()
    assert "runtime.tlsSecret of the chart" in reported(actions)[2]


@pytest.mark.parametrize("pools", [(pool(survives=False),), ()], ids=["turned off", "pool deleted"])
def test_a_unit_that_is_no_longer_wanted_is_removed_then_both_jobs_go(pools: tuple[Object, ...]) -> None:
    installed = job("install", "camera-1", "Complete")
    first = decide(seen(installed, pools=pools), SETTINGS, NOW)
    assert names(first.apply) == ["remove-unit-camera-1"]
    assert (first.delete, dict(first.findings)) == ((), {})
    removing = job("remove", "camera-1")
    assert decide(seen(installed, removing, pools=pools), SETTINGS, NOW) == UnitActions()
    removed = job("remove", "camera-1", "Complete")
    last = decide(seen(installed, removed, pools=pools), SETTINGS, NOW)
    assert names(last.delete) == ["install-unit-camera-1", "remove-unit-camera-1"]


def test_a_removal_that_fails_is_tried_again() -> None:
    installed, failed = job("install", "camera-1", "Complete"), job("remove", "camera-1", "Failed")
    found = seen(installed, failed, pools=(), pods={"remove-unit-camera-1": (failed_pod("read-only disk"),)})
    first = decide(found, SETTINGS, NOW)
    assert (first.left, first.failed) == ({"camera-1": "read-only disk"}, 1)
    assert decide(found, SETTINGS, NOW + RETRY).delete == (failed,)


def test_the_jobs_of_a_node_that_is_gone_go_along() -> None:
    jobs = (job("install", "camera-9", "Complete"), job("remove", "camera-9"))
    assert names(decide(seen(*jobs), SETTINGS, NOW).delete) == [
        "install-unit-camera-9",
        "remove-unit-camera-9",
    ]


def test_a_node_that_is_wanted_again_during_its_removal_gets_the_unit_back() -> None:
    actions = decide(seen(job("remove", "camera-1"), names=("camera-1",)), SETTINGS, NOW)
    assert names(actions.delete) == ["remove-unit-camera-1"]
    assert names(actions.apply) == ["install-unit-camera-1"]


def test_the_job_has_rights_on_its_node_alone() -> None:
    body = unit_job("install", "camera-1", "cam-1.local", SETTINGS, [{"key": "camera", "operator": "Exists"}])
    pod = body["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "cam-1.local"}
    assert pod["automountServiceAccountToken"] is False
    assert {"key": "camera", "operator": "Exists"} in pod["tolerations"]
    assert container["securityContext"]["privileged"] is True
    assert container["image"] == "runtime:1"
    assert container["args"] == [
        "install-unit", "--host", "/host", "--", "serve-node", "--kubelet-dir", "/var/lib/kubelet",
    ]  # fmt: skip
