"""The key of a server's model control is read when it is needed, from the Secret that a pool names."""

import base64
import re
from typing import Any

import pytest

from edge_operator.cluster import SECRETS
from edge_operator.errors import ControlDeniedError, ObjectRefusedError
from edge_operator.tritons.control_checks import INTERVAL
from edge_operator.tritons.control_keys import HEADER, ControlKey, ControlKeys
from edge_operator.tritons.former_servers import control_secrets
from messages import mentions

World = Any  # tests/operator/conftest.py
GRPC = "grpc://triton.test:8001"
HERE = "http://triton.test:8000"
NAMESPACE = "edge-intelligence"


def _secret(world: World, **data: str) -> None:
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    meta = {"name": "triton-control", "namespace": NAMESPACE}
    world.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": encoded})


def _keys(world: World) -> ControlKeys:
    keys = ControlKeys(world.cluster, NAMESPACE, clock=lambda: world.now)
    keys.set_pool("factory", {"triton.test:8000": "triton-control"})
    return keys


def _status(world: World, **found: bool) -> dict[str, Any]:
    """found: whether model control is open, by the address of each endpoint of the server."""
    world.report_pool(control_open={HERE: found} if found else {})
    conditions: list[dict[str, Any]] = world.pool()["status"]["conditions"]
    return {condition["type"]: condition for condition in conditions}


def test_a_key_is_sent_in_the_header_that_the_secret_names(world: World) -> None:
    keys = _keys(world)
    _secret(world, key="s3cret\n")
    assert keys.key(HERE) == ControlKey(HEADER, "s3cret")
    assert keys.key("https://triton.test:8000") == ControlKey(HEADER, "s3cret"), "the same server by TLS"
    assert keys.key("http://other:8000") is None
    _secret(world, key="another", header="x-control")
    keys.forget(HERE)
    assert keys.key(HERE) == ControlKey("x-control", "another")
    assert "another" not in repr(keys.key(HERE))


def test_a_secret_is_read_at_most_once_a_minute(world: World) -> None:
    keys = _keys(world)
    _secret(world, key="before")
    keys.key(HERE)
    _secret(world, key="after")
    world.now += 59
    assert keys.key(HERE) == ControlKey(HEADER, "before")
    world.now += 1
    assert keys.key(HERE) == ControlKey(HEADER, "after")
    keys.set_pool("factory", {})
    assert keys.key(HERE) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, ('controlSecret: "triton-control"', NAMESPACE)),
        ({}, (f"{NAMESPACE}/triton-control", "data.key")),
        ({"key": " "}, (f"{NAMESPACE}/triton-control", "data.key")),
        ({"key": "a\r\nb"}, (f"{NAMESPACE}/triton-control", "data.key")),
        ({"key": "a", "header": "no header"}, (f"{NAMESPACE}/triton-control", '"no header"')),
    ],
)
def test_a_secret_without_a_usable_key_is_named(
    world: World, data: dict[str, str] | None, words: tuple[str, ...]
) -> None:
    if data is not None:
        _secret(world, **data)
    with pytest.raises(ControlDeniedError, match=mentions(*words)):
        _keys(world).key(HERE)


def test_a_secret_that_the_operator_cannot_read_names_the_charts_value() -> None:
    class Forbidding:
        def fetch(self, kind: object, namespace: str | None, name: str) -> None:
            assert kind == SECRETS
            raise ObjectRefusedError("secrets is forbidden")

    keys = ControlKeys(Forbidding(), NAMESPACE)  # type: ignore[arg-type]
    keys.set_pool("factory", {"triton.test:8000": "triton-control"})
    with pytest.raises(ControlDeniedError, match=mentions("operator.tritonControlSecrets", "triton-control")):
        keys.key(HERE)


def test_the_secret_of_a_former_server_is_kept_until_its_tails_are_gone(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["controlSecret"] = "triton-control"
    world.cluster.put(pool)
    _status(world)
    assert control_secrets(world.pool()) == {"triton.test:8000": "triton-control"}
    pool = world.pool()
    pool["spec"]["tritonServers"] = []
    world.cluster.put(pool)
    for _ in range(2):
        _status(world)
        assert control_secrets(world.pool()) == {"triton.test:8000": "triton-control"}
    assert world.pool()["status"]["formerTritonServers"][0]["controlSecret"] == "triton-control"


def test_a_denied_key_leaves_local_routes_and_is_named(world: World) -> None:
    world.triton.failure = ControlDeniedError("loading failed: This API is restricted")
    world.reconcile()
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "ControlDenied")
    routes = [route for body in world.placements().values() for route in body["spec"]["routes"]]
    assert routes
    assert {stage["runtime"] for route in routes for stage in route["stages"]} == {"Edge"}


def test_a_pool_warns_of_servers_that_accept_control_without_a_key(world: World) -> None:
    control = _status(world)["ControlOpen"]
    assert (control["status"], control["reason"]) == ("Unknown", "Waiting")
    control = _status(world, **{HERE: True})["ControlOpen"]
    assert (control["status"], control["reason"]) == ("True", "ControlWithoutKey")
    assert mentions("spec.tritonServers[0]", "cloud", "--http-restricted-api").search(control["message"])
    assert _status(world)["Ready"]["status"] == "True", "it is a warning"
    writes = world.cluster.status_writes
    assert _status(world)["ControlOpen"] == control, "a restart waits for its own check"
    assert world.cluster.status_writes == writes
    control = _status(world, **{HERE: False})["ControlOpen"]
    assert (control["status"], control["reason"]) == ("False", "ControlNeedsKey")


def _with_grpc(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["grpcAddress"] = "triton.test:8001"
    world.cluster.put(pool)


@pytest.mark.parametrize(
    ("http", "grpc", "said", "flags"),
    [
        (True, False, "cloud accepts model control over HTTP without", {"--http-restricted-api"}),
        (False, True, "cloud accepts model control over gRPC without", {"--grpc-restricted-protocol"}),
        (
            True,
            True,
            "cloud accepts model control over HTTP and gRPC without",
            {"--http-restricted-api", "--grpc-restricted-protocol"},
        ),
    ],
)
def test_the_warning_names_the_protocol_that_is_open_and_the_flag_that_closes_it(
    world: World, http: bool, grpc: bool, said: str, flags: set[str]
) -> None:
    _with_grpc(world)
    control = _status(world, **{HERE: http, GRPC: grpc})["ControlOpen"]
    assert (control["status"], control["reason"]) == ("True", "ControlWithoutKey")
    assert control["message"].startswith(f"spec.tritonServers[0]: {said}")
    assert set(re.findall(r"--[a-z-]+", control["message"])) == flags


def test_a_closed_server_says_over_which_protocols_that_is_known(world: World) -> None:
    control = _status(world, **{HERE: False})["ControlOpen"]
    assert mentions("over HTTP", "at cloud", "set spec.tritonServers[0].grpcAddress").search(
        control["message"]
    )
    _with_grpc(world)
    control = _status(world, **{HERE: False})["ControlOpen"]
    assert mentions("over HTTP", "over gRPC", "could not be checked").search(control["message"])
    control = _status(world, **{HERE: False, GRPC: False})["ControlOpen"]
    assert mentions("over HTTP", "model control over gRPC", "at cloud").search(control["message"])
    assert "grpcAddress" not in control["message"]
    assert (control["status"], control["reason"]) == ("False", "ControlNeedsKey")


def test_a_grpc_endpoint_is_checked_once_the_pool_names_it(world: World) -> None:
    def checked() -> dict[str, bool]:
        world.collect()
        return dict(world.looks.loops.findings.control_open[HERE])

    world.triton.open = False
    assert checked() == {HERE: False}
    _with_grpc(world)
    assert checked() == {HERE: False}, "it does not respond"
    world.triton.grpc[GRPC] = True
    world.now += INTERVAL
    assert checked() == {HERE: False, GRPC: True}
    assert world.looks.changed_pools == ["factory", "factory"]


def test_a_pool_without_triton_has_no_such_condition(world: World) -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"] = []
    world.cluster.put(pool)
    assert "ControlOpen" not in _status(world)


def test_servers_are_checked_at_intervals_and_those_away_until_they_respond(world: World) -> None:
    def checked() -> dict[str, bool]:
        world.collect()
        return dict(world.looks.loops.findings.control_open.get(HERE, {}))

    world.triton.away = True
    assert checked() == {}
    assert world.looks.changed_pools == []
    world.triton.away = False
    assert checked() == {HERE: True}
    assert world.looks.changed_pools == ["factory"]
    world.triton.open = False
    world.now += INTERVAL - 1
    assert checked() == {HERE: True}
    world.now += 1
    assert checked() == {HERE: False}
    assert world.looks.changed_pools == ["factory", "factory"]
    world.now += INTERVAL
    assert checked() == {HERE: False}
    assert world.looks.changed_pools == ["factory", "factory"], "the status reports it already"
