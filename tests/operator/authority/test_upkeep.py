"""The leader keeps the certificates of the installation and of each namespace with Placements valid."""

import asyncio
import contextlib
import datetime
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_operator.authority.upkeep import Upkeep
from edge_operator.certificates import client_context
from edge_operator.cluster import CONFIG_MAPS, SECRETS
from edge_operator.errors import ClusterError
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


async def test_the_loops_start_after_the_first_look_also_when_it_fails(
    upkeep: Upkeep, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[object] = []

    def failing() -> None:
        events.append("renew")
        raise ClusterError("the API server does not respond")

    monkeypatch.setattr(upkeep, "renew", failing)

    async def pause(seconds: float) -> None:
        events.append(seconds)
        if len(events) > 4:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await upkeep.run(lambda: events.append("started"), pause)
    assert events == ["renew", "started", 5.0, "renew", 5.0]
