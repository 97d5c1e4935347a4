"""The operator writes to Placements what their runtimes need to know of links, and nothing twice."""

import asyncio
import datetime
from typing import Any

import pytest

from edge_api.told_links import read_links
from edge_operator.clients import Clock
from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, Object
from edge_operator.errors import ApiUnreachableError
from edge_operator.leadership import Leadership
from edge_operator.loops import link_telling
from edge_operator.loops.link_telling import tell_once
from edge_operator.loops.operator import Operator
from edge_operator.observed.mirror import Mirror

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
CLOCK = Clock(monotonic=lambda: 0.0, wall=lambda: NOW)


def placement(namespace: str, created: str) -> Object:
    link = {"peer": "cloud", "probe": "http://triton.test:8000/v2/health/live"}
    status = {"link": {"state": "Up", "bandwidth": "20M"}, "lastUpdated": "2026-03-01T12:00:00Z"}
    return {
        "apiVersion": PLACEMENTS.api_version,
        "kind": "Placement",
        "metadata": {"name": "digits.cam-1", "namespace": namespace, "creationTimestamp": created},
        "spec": {"service": "digits", "node": "cam-1", "link": link, "routes": []},
        "status": status,
    }


def deployment(namespace: str, ready: int) -> Object:
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": "Deployment",
        "metadata": {"name": "edge-runtime-cam-1", "namespace": namespace},
        "spec": {},
        "status": {"readyReplicas": ready},
    }


@pytest.fixture
def cluster(world: Any) -> Any:
    """Two namespaces whose runtimes share cam-1."""
    found = world.cluster
    for namespace, created in (("a", "2026-03-01T09:00:00Z"), ("b", "2026-03-01T10:00:00Z")):
        found.put(placement(namespace, created))
        found.put(deployment(namespace, ready=1))
    found.log.clear()
    return found


def measured(cluster: Any) -> dict[str, str]:
    bodies = cluster.find(PLACEMENTS)
    return {
        body["metadata"]["namespace"]: link.measured
        for body in bodies
        for link in read_links(body["metadata"].get("annotations") or {}).values()
    }


def test_each_placement_is_written_once_and_its_generation_stays(cluster: Any) -> None:
    assert tell_once(cluster, CLOCK) == 2
    assert measured(cluster) == {"a": "Here", "b": "Elsewhere"}
    assert [body["metadata"]["generation"] for body in cluster.find(PLACEMENTS)] == [1, 1]
    assert tell_once(cluster, CLOCK) == 0
    assert cluster.log == ["annotate Placement digits.cam-1"] * 2


def test_a_runtime_without_a_ready_pod_hands_over(cluster: Any) -> None:
    tell_once(cluster, CLOCK)
    cluster.put(deployment("a", ready=0))
    tell_once(cluster, CLOCK)
    assert measured(cluster) == {"a": "Elsewhere", "b": "Here"}


def test_one_write_that_fails_holds_up_no_other(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = cluster.annotate

    def failing(kind: Any, current: Object, annotations: Any) -> Object:
        if current["metadata"]["namespace"] == "a":
            raise ApiUnreachableError("no response")
        found: Object = write(kind, current, annotations)
        return found

    monkeypatch.setattr(cluster, "annotate", failing)
    assert tell_once(cluster, CLOCK) == 1
    assert measured(cluster) == {"b": "Elsewhere"}
    monkeypatch.undo()
    assert tell_once(cluster, CLOCK) == 1


async def test_an_operator_that_leads_writes_the_values_by_itself(
    cluster: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_telling, "EVERY", 0.01)
    leadership = Leadership(cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, world.settings, None, cluster, Mirror(), leadership)
    operator.lead()
    try:
        async with asyncio.timeout(20):
            while len(measured(cluster)) < 2:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    finally:
        await operator.stop()
    assert measured(cluster) == {"a": "Here", "b": "Elsewhere"}
