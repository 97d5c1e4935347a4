"""What the API server stores without some of its fields is written again rarely, and the log says why."""

import logging
from typing import Any

import pytest

from edge_operator.effects.writes import write
from edge_operator.pool.actions import Apply
from operator_objects import pool_body

World = Any  # tests/operator/conftest.py
DROPPED = {"nodeCount", "eiLevel", "link"}
"""Fields that the CRDs of an earlier version lack."""


@pytest.fixture
def dropping(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    apply, apply_status = world.cluster.apply, world.cluster.apply_status

    def kept(fields: Any) -> Any:
        return {key: value for key, value in fields.items() if key not in DROPPED}

    def applies(wanted: Any, seen: Any = None) -> Any:
        return apply({**wanted, "spec": kept(wanted["spec"])} if "spec" in wanted else wanted, seen)

    def applies_status(kind: Any, seen: Any, status: Any) -> Any:
        return apply_status(kind, seen, kept(status))

    monkeypatch.setattr(world.cluster, "apply", applies)
    monkeypatch.setattr(world.cluster, "apply_status", applies_status)
    return world


def test_each_turn_writes_it_once(dropping: World, caplog: pytest.LogCaptureFixture) -> None:
    dropping.settle()
    dropping.now += 60
    del dropping.log[:]
    before = dropping.cluster.status_writes
    with caplog.at_level(logging.WARNING):
        dropping.plan()
    assert sorted(dropping.log) == [f"apply Placement digits.{node}" for node in ("cam-1", "cam-2", "gate")]
    assert dropping.cluster.status_writes <= before + 2
    said = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("DevicePool factory: the API server") for text in said)
    assert any(text.startswith("Placement default/digits.cam-1: the API server") for text in said)
    assert all("apply the CRDs of this version" in text for text in said)


def test_a_job_in_the_spelling_of_the_api_server_is_not_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"template": {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "0.5Gi"}}]}}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": spec,
    }
    monkeypatch.setattr(world.cluster, "apply", lambda wanted, seen: {**wanted, "spec": {}})
    assert write(world.cluster, [Apply(body)]).as_wanted


def test_an_object_that_is_stored_as_wanted_is_not_reported(world: World) -> None:
    written = write(world.cluster, [Apply(pool_body())])
    assert written.as_wanted
