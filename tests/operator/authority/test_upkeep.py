"""The leader keeps the certificates of the installation and of each namespace with Placements valid."""

import asyncio
import base64
import contextlib
import datetime
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_operator.authority import issuing
from edge_operator.authority.upkeep import NODE_CACHE_SECRET, Upkeep
from edge_operator.certificates import client_context
from edge_operator.cluster import CONFIG_MAPS, SECRETS
from edge_operator.errors import ApiUnreachableError, ClusterError, ObjectRefusedError
from edge_operator.settings import Settings
from messages import mentions

World = Any  # tests/operator/conftest.py
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
SETTINGS = Settings("https://model-store:8080", "runtime", issues_certificates=True)


class Clock:
    now = START

    def __call__(self) -> datetime.datetime:
        return self.now


@pytest.fixture
def placed() -> set[str]:
    return {"shop"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def upkeep(world: World, placed: set[str], clock: Clock, tmp_path: Path) -> Upkeep:
    settings = replace(SETTINGS, tls_dir=str(tmp_path / "tls"))
    return Upkeep(world.cluster, settings, lambda: set(placed), clock)


def test_the_first_look_issues_for_operator_store_and_namespaces(world: World, upkeep: Upkeep) -> None:
    del world.log[:]
    upkeep.renew()
    assert world.log == [
        "apply Secret edge-authority",
        "apply Secret model-store-tls",
        "apply ConfigMap edge-ca",
        "apply Secret edge-operator-tls",
        "apply Secret edge-runtime-tls",
        "apply ConfigMap edge-ca",
    ]
    del world.log[:]
    upkeep.renew()
    assert world.log == []


def test_the_caches_of_nodes_get_a_certificate_if_there_are_any(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    url = "https://edge-node-cache.edge-intelligence.svc.cluster.local:8080"
    settings = replace(SETTINGS, tls_dir=str(tmp_path / "tls"), node_cache_url=url)
    Upkeep(world.cluster, settings, set, clock).renew()
    secret = world.cluster.fetch(SECRETS, settings.namespace, NODE_CACHE_SECRET)
    assert secret is not None
    files = [base64.b64decode(secret["data"][name]) for name in ("tls.crt", "tls.key", "ca.crt")]
    assert url.removeprefix("https://").removesuffix(":8080") in issuing.certificate_of(*files).names


def test_the_operator_reads_its_certificate_from_a_folder_that_is_its_own(
    upkeep: Upkeep, tmp_path: Path, clock: Clock
) -> None:
    upkeep.renew()
    client_context(tmp_path / "tls")
    key = tmp_path / "tls" / "tls.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    clock.now = START + 60 * DAY
    upkeep.renew()
    assert key.read_bytes() != before


def test_a_namespace_gets_its_certificate_before_its_first_pod_and_loses_it_with_its_last_placement(
    world: World, upkeep: Upkeep, placed: set[str]
) -> None:
    upkeep.renew()
    upkeep.provide("plant")
    assert world.cluster.get(SECRETS, "plant", "edge-runtime-tls") is None
    placed.add("plant")
    upkeep.provide("plant")
    assert world.cluster.get(SECRETS, "plant", "edge-runtime-tls") is not None
    upkeep.renew()
    placed.discard("plant")
    upkeep.provide("plant")
    assert world.cluster.get(SECRETS, "plant", "edge-runtime-tls") is None
    assert world.cluster.get(CONFIG_MAPS, "plant", "edge-ca") is None
    assert world.cluster.get(SECRETS, "shop", "edge-runtime-tls") is not None


def test_without_an_authority_the_message_names_both_secrets(upkeep: Upkeep) -> None:
    with pytest.raises(ClusterError) as caught:
        upkeep.provide("shop")
    said = mentions("shop/edge-runtime-tls", "not yet issued", "edge-intelligence/edge-authority")
    assert said.search(str(caught.value))


def test_a_foreign_secret_keeps_no_other_namespace_from_its_certificate(
    world: World, upkeep: Upkeep, placed: set[str]
) -> None:
    placed.add("plant")
    meta = {"name": "edge-runtime-tls", "namespace": "plant"}
    world.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
    with pytest.raises(ClusterError, match=mentions("plant/edge-runtime-tls", "delete or rename")):
        upkeep.renew()
    assert world.cluster.get(SECRETS, "shop", "edge-runtime-tls") is not None


def foreign(world: World, namespace: str, name: str) -> None:
    """Puts a Secret that the operator did not make."""
    meta = {"name": name, "namespace": namespace}
    world.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta})


def test_a_refused_secret_is_a_failure_until_it_can_be_issued(
    world: World, upkeep: Upkeep, placed: set[str]
) -> None:
    placed.add("plant")
    foreign(world, "plant", "edge-runtime-tls")
    with pytest.raises(ClusterError):
        upkeep.renew()
    (said,) = upkeep.failures["plant"]
    assert mentions("Secret plant/edge-runtime-tls", "delete or rename").search(said)
    assert list(upkeep.failures) == ["plant"]
    world.cluster.delete(SECRETS, "plant", "edge-runtime-tls")
    upkeep.provide("plant")
    assert upkeep.failures == {}


def test_a_certificate_that_is_valid_serves_while_its_renewal_is_refused(
    world: World, upkeep: Upkeep, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep.renew()
    assert upkeep.certify("shop") is None

    def refused(*_: object, **__: object) -> None:
        raise ObjectRefusedError("Secret shop/edge-runtime-tls: denied by a policy")

    monkeypatch.setattr(world.cluster, "apply", refused)
    for days, serving in ((60, True), (89, True), (90, False)):
        clock.now = START + days * DAY
        with pytest.raises(ObjectRefusedError):
            upkeep.renew()
        assert upkeep.certify("shop") == ("Secret shop/edge-runtime-tls: denied by a policy", serving)


def test_a_foreign_secret_serves_nothing(world: World, upkeep: Upkeep) -> None:
    foreign(world, "shop", "edge-runtime-tls")
    with pytest.raises(ClusterError):
        upkeep.renew()
    found = upkeep.certify("shop")
    assert found is not None
    assert not found.serving


def test_a_namespace_without_placements_has_no_failure(
    world: World, upkeep: Upkeep, placed: set[str]
) -> None:
    foreign(world, "shop", "edge-runtime-tls")
    with pytest.raises(ClusterError):
        upkeep.renew()
    placed.clear()
    upkeep.provide("shop")
    assert upkeep.failures == {}


@pytest.mark.parametrize("name", ["model-store-tls", "edge-operator-tls"])
def test_a_refused_secret_of_store_or_operator_keeps_no_namespace_from_its_certificate(
    world: World, upkeep: Upkeep, tmp_path: Path, name: str
) -> None:
    foreign(world, "edge-intelligence", name)
    with pytest.raises(ClusterError, match=mentions(name)):
        upkeep.renew()
    assert world.cluster.get(SECRETS, "shop", "edge-runtime-tls") is not None
    assert list(upkeep.failures) == ["edge-intelligence"]
    assert (tmp_path / "tls").exists() is (name != "edge-operator-tls"), "no foreign key is used"


def test_what_passes_by_itself_is_a_failure_after_a_minute(
    world: World, upkeep: Upkeep, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep.renew()

    def unreachable(*_: object) -> None:
        raise ApiUnreachableError("the API server does not respond")

    with monkeypatch.context() as away:
        away.setattr(world.cluster, "fetch", unreachable)
        for seconds, reported in ((0, False), (59, False), (60, True)):
            clock.now = START + datetime.timedelta(seconds=seconds)
            with pytest.raises(ApiUnreachableError):
                upkeep.renew()
            assert bool(upkeep.failures) is reported
        assert upkeep.failures == {"edge-intelligence": ("the API server does not respond",)}
    upkeep.renew()
    assert upkeep.failures == {}


async def test_the_loops_start_after_the_first_look_also_when_it_fails(
    upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []

    def failing() -> None:
        events.append("renew")
        raise ClusterError("the API server does not respond")

    monkeypatch.setattr(upkeep, "renew", failing)

    async def pause(seconds: float) -> None:
        events.append(seconds)
        if len(events) > 8:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await upkeep.run(lambda: events.append("started"), lambda: events.append("attempted"), pause)
    again = ["renew", "attempted", 10.0, "renew", "attempted", 20.0]
    assert events == ["renew", "started", "attempted", 5.0, *again]
