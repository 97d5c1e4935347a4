"""A Triton server with scheme HTTPS: called by that address only, and not at all without certificates."""

from dataclasses import replace
from typing import Any

import pytest

from edge_operator.errors import TritonUntrustedError

World = Any  # tests/operator/conftest.py
PLAIN, GUARDED = "http://triton.test:8000", "https://triton.test:8000"


def _asks_for_tls(world: World, scheme: str = "HTTPS") -> None:
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["scheme"] = scheme
    world.cluster.put(pool)


def _has_certificates(world: World, **more: str) -> None:
    given = {"tls_dir": "/etc/edge/tls", "tls_secret": "edge-runtimes"} | more
    world.settings = replace(world.settings, **given)


def _addresses(world: World) -> set[str]:
    return {
        stage["address"]
        for body in world.placements().values()
        for route in body["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Triton"
    }


def test_operator_and_runtimes_ask_it_by_tls(world: World) -> None:
    _has_certificates(world)
    _asks_for_tls(world)
    world.triton.url = GUARDED
    world.settle()
    assert _addresses(world) == {GUARDED}
    assert world.triton.asked == {GUARDED}
    assert world.condition("Placed")["status"] == "True"


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({"tls_dir": "", "tls_secret": ""}, ("operator.tlsSecret", "runtime.tlsSecret")),
        ({"tls_dir": ""}, ("operator.tlsSecret",)),
        ({"tls_secret": ""}, ("runtime.tlsSecret",)),
    ],
)
def test_without_certificates_nothing_is_made_and_the_condition_says_what_to_set(
    world: World, given: dict[str, str], lacking: tuple[str, ...]
) -> None:
    _has_certificates(world, **given)
    _asks_for_tls(world)
    world.reconcile()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", "NoCertificates")
    assert 'DevicePool factory: spec.tritonServers[0].scheme: "HTTPS"' in planned["message"]
    for field in ("operator.tlsSecret", "runtime.tlsSecret"):
        assert (field in planned["message"]) == (field in lacking)
    assert world.condition("Ready")["reason"] == "NoCertificates"
    assert (world.placements(), world.deployments(), world.triton.models) == ({}, [], set())


def test_a_service_that_serves_keeps_its_tables_until_there_are_certificates(world: World) -> None:
    world.settle()
    before, models = world.placements(), set(world.triton.models)
    _asks_for_tls(world)
    world.reconcile()
    assert world.condition("Planned")["reason"] == "NoCertificates"
    assert (world.placements(), world.triton.models) == (before, models)
    _has_certificates(world)
    world.triton.url = GUARDED
    world.settle()
    assert _addresses(world) == {GUARDED}


def test_a_server_that_goes_over_to_tls_keeps_its_tails_and_is_not_asked_without_it(world: World) -> None:
    _has_certificates(world)
    world.settle()
    models = set(world.triton.models)
    _asks_for_tls(world)
    world.triton.url = GUARDED
    world.triton.asked.clear()
    world.settle()
    world.now += 60
    world.reconcile()
    assert _addresses(world) == {GUARDED}
    assert world.triton.asked == {GUARDED}
    assert world.triton.models == models


def test_a_service_that_goes_unloads_its_tails_as_the_pool_says_now(world: World) -> None:
    _has_certificates(world)
    world.settle()
    _asks_for_tls(world)
    world.triton.url = GUARDED
    world.triton.asked.clear()
    body = world.service()
    at = world.clock().wall().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.put(body | {"metadata": body["metadata"] | {"deletionTimestamp": at}})
    assert world.reconcile() is None
    assert world.triton.models == set()
    assert world.triton.asked == {GUARDED}


def test_a_server_that_is_not_trusted_is_distinguished_from_one_that_is_away(world: World) -> None:
    _has_certificates(world)
    _asks_for_tls(world)
    world.triton.url = GUARDED
    world.triton.failure = TritonUntrustedError("unknown authority")
    world.reconcile()
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "TritonUntrusted")
    assert placed["message"].startswith("unknown authority; ")
    assert "cam-1, cam-2, gate" in placed["message"]
    assert _addresses(world) == set()
    world.triton.failure = None
    world.reconcile()
    assert _addresses(world) == {GUARDED}
