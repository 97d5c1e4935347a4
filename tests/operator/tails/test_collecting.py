"""Models that no table names are unloaded after a grace period, if they are the installation's own."""

from typing import Any

import pytest

from edge_operator.loops.collecting import GRACE

World = Any  # tests/operator/conftest.py
DIGEST = "sha256:" + "0" * 64
FORMER = "default-digits-" + "0" * 12


def _wait_out(world: World) -> None:
    world.collect()
    world.now += GRACE
    world.collect()


def test_one_model_serves_two_services_and_stays_for_the_one_that_is_left(world: World) -> None:
    world.settle()
    models = set(world.triton.models)
    body = world.placements()["cam-1"]
    other = {"name": "other-cam-1", "namespace": "shop", "labels": {"edge-intelligence.io/service": "other"}}
    world.cluster.put(body | {"metadata": other})
    service = world.service()
    at = world.clock().wall().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.put(service | {"metadata": service["metadata"] | {"deletionTimestamp": at}})
    assert world.reconcile() is None
    named = {s["model"] for r in body["spec"]["routes"] for s in r["stages"] if s["runtime"] == "Triton"}
    assert named
    assert world.triton.models & models == named


def test_orphans_go_after_a_restart_without_a_service(world: World) -> None:
    world.settle()
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] == "DevicePool"}
    world.restart()
    world.collect()
    world.now += GRACE - 1
    world.collect()
    assert world.triton.models
    world.now += 1
    world.collect()
    assert world.triton.models == set()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet", {"slice": DIGEST}),
        ("edge-c0ffee000000-" + "0" * 24, {}),
        ("edge-c0ffee000000-" + "0" * 24, {"owner": "another", "slice": DIGEST}),
        ("edge-another00000-" + "0" * 24, {"owner": "another00000", "slice": DIGEST}),
        (FORMER, {}),
        ("default-unknown-" + "0" * 12, {"slice": DIGEST}),
    ],
)
def test_models_of_others_are_never_touched(world: World, name: str, parameters: dict[str, str]) -> None:
    world.settle()
    world.triton.models.add(name)
    world.triton.marks[name] = parameters
    _wait_out(world)
    _wait_out(world)
    assert name in world.triton.models


def test_tails_of_a_previous_version_go_once_no_table_names_them(world: World) -> None:
    world.settle()
    world.triton.models.add(FORMER)
    world.triton.marks[FORMER] = {"slice": DIGEST}
    _wait_out(world)
    assert FORMER not in world.triton.models


def test_a_table_skipped_by_an_offline_node_keeps_no_tails(world: World) -> None:
    world.settle()
    before = set(world.triton.models)
    world.change(mode="CloudOnly")
    world.reconcile()
    world.change(mode="LocalOnly")
    world.reconcile()
    world.now += GRACE
    world.reconcile()
    assert world.triton.models <= before, "the last reported table needs these"
    assert world.triton.models
    world.runtimes_report()
    _wait_out(world)
    assert world.triton.models == set()


def test_a_tail_that_is_used_again_restarts_its_grace_period(world: World) -> None:
    world.settle()
    models = set(world.triton.models)
    placements = [it for key, it in world.cluster.objects.items() if key[0] == "Placement"]
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    world.collect()
    world.now += GRACE - 1
    for body in placements:
        world.cluster.put(body)
    world.collect()
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    world.now += 1
    world.collect()
    assert world.triton.models == models


def test_nothing_is_read_from_the_api_server_while_all_models_are_known_to_be_used(world: World) -> None:
    world.settle()
    used = [(address, name) for address in (world.triton.url,) for name in world.triton.models]
    world.collector.clients = world.collector.clients.__class__(None, None, world.triton)
    world.collector.collect([world.triton.url], world.now + GRACE, used)
    assert {name for _, name in used} == world.triton.models
