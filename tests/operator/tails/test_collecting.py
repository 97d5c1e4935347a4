"""Models that no table names are unloaded after a grace period, if they are the installation's own."""

from dataclasses import replace
from typing import Any

import pytest

from edge_operator.effects.server_looks import ServerLooks
from edge_operator.errors import ApiUnreachableError, TritonBusyError
from edge_operator.leadership import Leadership
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.fenced_triton import FencedTriton
from edge_operator.tritons.unused_tails import GRACE, UnusedTails

World = Any  # tests/operator/conftest.py
DIGEST = "sha256:" + "0" * 64
FORMER = "default-digits-" + "0" * 12
INSTALLATION = "c0ffee000000"


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


def test_a_table_that_uses_a_tail_again_that_has_gone_has_it_loaded_first(world: World) -> None:
    world.settle()
    models = set(world.triton.models)
    world.change(mode="LocalOnly")
    world.settle()
    _wait_out(world)
    assert world.triton.models == set()
    world.change(mode="Auto")
    while not (published := _placed_tails(world)):
        world.plan()  # before the next look at the server
    assert published == models == world.triton.models


def _placed_tails(world: World) -> set[str]:
    """The tails that published tables name."""
    stages = [s for body in world.placements().values() for r in body["spec"]["routes"] for s in r["stages"]]
    return {stage["model"] for stage in stages if stage["runtime"] == "Triton"}


def test_a_tail_that_a_service_finds_while_its_grace_period_ends_stays(world: World) -> None:
    world.settle()
    models = frozenset(world.triton.models)
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    kept = min(models)

    class Admitting:
        """The API server: before Placements are listed, a service is about to use a tail."""

        def find(self, kind: Any, scope: str | None = None) -> Any:
            world.admitted.hold(server_of(world.triton.url), {kept: 1})
            return world.cluster.find(kind, scope)

    looks = ServerLooks(replace(world.clients, cluster=Admitting()), INSTALLATION, None)
    found = looks.look(world.triton.url, UnusedTails(dict.fromkeys(models, 0.0)), frozenset(), GRACE)
    assert (world.triton.models, found.models) == ({kept}, frozenset({kept}))


def test_tails_stay_while_a_service_takes_its_turn_at_the_server(world: World) -> None:
    world.settle()
    models = frozenset(world.triton.models)
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    looks = ServerLooks(world.clients, INSTALLATION, None)
    before = UnusedTails(dict.fromkeys(models, 0.0))
    with world.admitted.turn(server_of(world.triton.url)):
        found = looks.look(world.triton.url, before, frozenset(), GRACE)
    assert found.models == models == world.triton.models
    assert found.unused.since == before.since, "tried again at the next look"


class _Listed:
    """The API server, which records the kinds that are listed."""

    def __init__(self, world: World) -> None:
        self.world, self.kinds = world, list[str]()

    def find(self, kind: Any, scope: str | None = None) -> Any:
        self.kinds.append(kind.kind)
        return self.world.cluster.find(kind, scope)


def test_placements_are_listed_only_before_tails_are_unloaded(world: World) -> None:
    world.settle()
    server = _Listed(world)
    looks = ServerLooks(replace(world.clients, cluster=server), INSTALLATION, None)
    names, address = frozenset(world.triton.models), world.triton.url

    def look(before: UnusedTails, used: frozenset[str], now: float) -> UnusedTails:
        return looks.look(address, before, used, now).unused

    unused = look(UnusedTails(), names, 0.0)
    assert unused.since == {}
    for now in (10.0, 20.0, 10.0 + GRACE - 1):
        unused = look(unused, frozenset(), now)
    assert server.kinds == []
    unused = look(unused, frozenset(), 10.0 + GRACE)
    assert server.kinds == ["Placement"]
    assert unused.since == {}, "they are in use, which no watch has reported: the grace period begins again"
    assert world.triton.models == names


class _Away:
    """An API server that does not respond."""

    def find(self, *_: object) -> Any:
        raise ApiUnreachableError("no response")


def test_tails_stay_while_the_api_server_does_not_respond(world: World) -> None:
    world.settle()
    models = frozenset(world.triton.models)
    looks = ServerLooks(replace(world.clients, cluster=_Away()), INSTALLATION, None)
    before = UnusedTails(dict.fromkeys(models, 0.0))
    found = looks.look(world.triton.url, before, frozenset(), GRACE)
    assert found.models == models == world.triton.models
    assert found.unused.since == before.since, "tried again at the next look"


def test_a_server_that_hangs_while_tails_are_unloaded_gets_no_request_for_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    models = frozenset(world.triton.models)
    assert len(models) > 1
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    requests = list[str]()

    def hanging(address: str, name: str) -> None:
        requests.append(name)
        raise TritonBusyError(f"Triton at {address} is busy")

    monkeypatch.setattr(world.triton, "unload", hanging)
    looks = ServerLooks(world.clients, INSTALLATION, None)
    before = UnusedTails(dict.fromkeys(models, 0.0))
    found = looks.look(world.triton.url, before, frozenset(), GRACE)
    assert len(requests) == 1
    assert found.unused.since == before.since, "tried again at the next look"


def test_a_replica_without_the_lease_unloads_nothing(world: World) -> None:
    world.settle()
    models = frozenset(world.triton.models)
    world.cluster.objects = {key: it for key, it in world.cluster.objects.items() if key[0] != "Placement"}
    standby = Leadership(world.cluster, "edge-intelligence", "b")
    looks = ServerLooks(
        replace(world.clients, triton=FencedTriton(world.triton, standby)), INSTALLATION, None
    )
    before = UnusedTails(dict.fromkeys(models, 0.0))
    found = looks.look(world.triton.url, before, frozenset(), GRACE)
    assert found.models == models == world.triton.models
    assert found.unused.since == before.since
