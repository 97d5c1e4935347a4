"""A server that left its pool is cleaned up, also if the operator restarts in between."""

from typing import Any

from edge_operator.tritons.former_servers import KEPT, former_addresses
from edge_operator.tritons.unused_tails import GRACE

World = Any  # tests/operator/conftest.py


def _pool(world: World) -> dict[str, Any]:
    world.report_pool(emptied=world.looks.loops.findings.emptied)
    status: dict[str, Any] = world.pool()["status"]
    return status


def _former(world: World) -> list[str]:
    return [each["address"] for each in _pool(world).get("formerTritonServers", [])]


def _drop_server(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"] = []
    world.cluster.put(pool)


def test_the_status_records_a_server_until_its_tails_are_gone(world: World) -> None:
    world.settle()
    assert _pool(world)["tritonServers"] == [{"address": world.triton.url}]
    _drop_server(world)
    world.restart()
    assert _former(world) == [world.triton.url]
    world.settle()
    assert _former(world) == [world.triton.url], "still in its grace period"
    world.restart()
    world.collect()
    world.now += GRACE
    world.collect()
    world.collect()
    assert world.triton.models == set()
    assert _former(world) == []
    assert former_addresses(world.pool()) == set()


def test_a_change_made_while_the_operator_was_away_is_noticed(world: World) -> None:
    world.settle()
    _pool(world)
    _drop_server(world)
    world.restart()
    world.settle()
    assert set(world.looks.loops.loops) == {world.triton.url}, "before the pool's status is written"


def test_a_server_that_returns_to_the_pool_is_a_current_one_again(world: World) -> None:
    _pool(world)
    spec = world.pool()["spec"]
    _drop_server(world)
    assert _former(world) == [world.triton.url]
    pool = world.pool()
    guarded = spec["tritonServers"][0] | {"scheme": "HTTPS"}
    world.cluster.put(pool | {"spec": spec | {"tritonServers": [guarded]}})
    assert _former(world) == [], "the same host and port by TLS"


def test_a_server_that_never_responds_is_forgotten_after_a_week(world: World) -> None:
    _pool(world)
    _drop_server(world)
    world.triton.away = True
    left = _pool(world)["formerTritonServers"][0]["left"]
    world.now += KEPT.total_seconds() - 60
    world.collect()
    assert _pool(world)["formerTritonServers"][0]["left"] == left
    world.now += 60
    assert _former(world) == []


def test_a_former_server_with_tails_in_use_is_not_forgotten(world: World) -> None:
    world.settle()
    _pool(world)
    _drop_server(world)
    world.collect()
    assert world.looks.loops.findings.emptied == set()
    assert set(world.looks.loops.loops) == {world.triton.url}
