"""The operator writes to Placements what their runtimes need to know of links, and nothing twice."""

import asyncio
import datetime
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge_api.told_links import read_links
from edge_operator.clients import Clock
from edge_operator.cluster import DEPLOYMENTS, PLACEMENTS, Object
from edge_operator.errors import ApiUnreachableError
from edge_operator.leadership import Leadership
from edge_operator.loops import link_telling
from edge_operator.loops.link_telling import LinkTelling, tell_node
from edge_operator.loops.operator import Operator
from edge_operator.names import NODE_LABEL
from edge_operator.observed.mirror import Mirror

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
CLOCK = Clock(monotonic=lambda: 0.0, wall=lambda: NOW)


def placement(namespace: str, created: str, node: str = "cam-1") -> Object:
    link = {"peer": "cloud", "probe": "http://triton.test:8000/v2/health/live"}
    status = {"link": {"state": "Up", "bandwidth": "20M"}, "lastUpdated": "2026-03-01T12:00:00Z"}
    return {
        "apiVersion": PLACEMENTS.api_version,
        "kind": "Placement",
        "metadata": {
            "name": f"digits.{node}",
            "namespace": namespace,
            "creationTimestamp": created,
            "labels": {NODE_LABEL: node},
        },
        "spec": {"service": "digits", "node": node, "link": link, "routes": []},
        "status": status,
    }


def deployment(namespace: str, ready: int, node: str = "cam-1") -> Object:
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": "Deployment",
        "metadata": {
            "name": f"edge-runtime-{node}",
            "namespace": namespace,
            "labels": {NODE_LABEL: node},
        },
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


def tell(cluster: Any) -> float | None:
    return tell_node(cluster, "cam-1", CLOCK, 900.0)


def test_each_placement_is_written_once_and_its_generation_stays(cluster: Any) -> None:
    assert tell(cluster) == 900.0, "until it is renewed"
    assert measured(cluster) == {"a": "Here", "b": "Elsewhere"}
    assert [body["metadata"]["generation"] for body in cluster.find(PLACEMENTS)] == [1, 1]
    assert tell(cluster) == 900.0
    assert cluster.log == ["annotate Placement digits.cam-1"] * 2


def test_a_runtime_without_a_ready_pod_hands_over(cluster: Any) -> None:
    tell(cluster)
    cluster.put(deployment("a", ready=0))
    tell(cluster)
    assert measured(cluster) == {"a": "Elsewhere", "b": "Here"}


def test_one_write_that_fails_holds_up_no_other(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = cluster.annotate

    def failing(kind: Any, current: Object, annotations: Any) -> Object:
        if current["metadata"]["namespace"] == "a":
            raise ApiUnreachableError("no response")
        found: Object = write(kind, current, annotations)
        return found

    monkeypatch.setattr(cluster, "annotate", failing)
    with pytest.raises(ApiUnreachableError):
        tell(cluster)
    assert measured(cluster) == {"b": "Elsewhere"}
    monkeypatch.undo()
    tell(cluster)
    assert measured(cluster) == {"a": "Here", "b": "Elsewhere"}


class Observed:
    """A cluster that counts the finds by their labels."""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self.found = cluster, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def find(self, kind: Any, namespace: str | None = None, labels: str = "") -> Any:
        self.found[labels] += 1
        return self._cluster.find(kind, namespace, labels)


class Running:
    """The loop, which has seen all Placements."""

    def __init__(self, cluster: Any, threads: ThreadPoolExecutor) -> None:
        self.cluster = Observed(cluster)
        clock = Clock(monotonic=asyncio.get_running_loop().time, wall=lambda: NOW)
        self.telling = LinkTelling(self.cluster, clock, threads)
        self.task = asyncio.create_task(self.telling.run())
        for body in cluster.find(PLACEMENTS):
            self.telling.placement_changed(None, body)

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not met():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.001)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as found:
        yield found


@pytest.fixture
async def running(
    cluster: Any, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """Two namespaces share cam-1, and two share cam-2; all that is to be written is written."""
    monkeypatch.setattr(link_telling, "TOGETHER", 0.001)
    for namespace, created in (("a", "2026-03-01T09:00:00Z"), ("b", "2026-03-01T10:00:00Z")):
        cluster.put(placement(namespace, created, "cam-2"))
        cluster.put(deployment(namespace, 1, "cam-2"))
    found = Running(cluster, threads)
    nodes = [f"{NODE_LABEL}=cam-{number}" for number in (1, 2)]
    await found.until(lambda: len(cluster.log) == 4 and set(found.cluster.found) == set(nodes))
    yield found
    found.task.cancel()
    await asyncio.gather(found.task, return_exceptions=True)


async def test_only_the_node_of_a_link_that_changed_is_compared(running: Running, cluster: Any) -> None:
    before = Counter(running.cluster.found)
    body = cluster.get(PLACEMENTS, "a", "digits.cam-1")
    link = body["status"]["link"] | {"bandwidth": "2M"}
    cluster.report_status(PLACEMENTS, "a", "digits.cam-1", body["status"] | {"link": link})
    running.telling.placement_changed("MODIFIED", cluster.get(PLACEMENTS, "a", "digits.cam-1"))
    await running.until(lambda: len(cluster.log) == 5)
    assert cluster.log[4] == "annotate Placement digits.cam-1"
    assert running.cluster.found - before == {f"{NODE_LABEL}=cam-1": 1}


async def test_counters_and_times_of_reports_compare_no_node(running: Running, cluster: Any) -> None:
    before = Counter(running.cluster.found)
    for body in cluster.find(PLACEMENTS):
        running.telling.placement_changed("MODIFIED", body)  # with the annotation that was written
    await running.until(lambda: (running.cluster.found - before).total() == 2)
    for count in range(100):
        for body in cluster.find(PLACEMENTS):
            link = body["status"]["link"] | {"measuredAt": f"2026-03-01T12:00:{count % 60:02d}Z"}
            status = body["status"] | {"requests": count, "lastUpdated": "2026-03-01T12:01:00Z", "link": link}
            running.telling.placement_changed("MODIFIED", body | {"status": status})
    running.telling.readiness_changed("cam-3")
    await running.until(lambda: running.cluster.found[f"{NODE_LABEL}=cam-3"] == 1)
    assert (running.cluster.found - before).total() == 3


async def test_a_write_that_fails_is_repeated(
    running: Running, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = cluster.annotate, list[str]()

    def failing(kind: Any, current: Object, annotations: Any) -> Object:
        if not failures:
            failures.append(current["metadata"]["name"])
            raise ApiUnreachableError("no response")
        found: Object = write(kind, current, annotations)
        return found

    monkeypatch.setattr(cluster, "annotate", failing)
    cluster.put(deployment("a", ready=0))
    running.telling.readiness_changed("cam-1")
    await running.until(lambda: len(cluster.log) == 6)
    assert failures == ["digits.cam-1"]


async def test_an_operator_that_leads_writes_the_values_by_itself(
    cluster: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_telling, "TOGETHER", 0.01)
    leadership = Leadership(cluster, "edge-intelligence", "a")
    operator = Operator(world.clients, world.settings, None, cluster, Mirror(), leadership)
    for body in cluster.find(PLACEMENTS):
        operator.event(PLACEMENTS, None, body)
    operator.lead()
    try:
        async with asyncio.timeout(20):
            while len(measured(cluster)) < 2:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert measured(cluster) == {"a": "Here", "b": "Elsewhere"}
        cluster.put(deployment("a", ready=0))
        operator.event(DEPLOYMENTS, "MODIFIED", cluster.get(DEPLOYMENTS, "a", "edge-runtime-cam-1"))
        async with asyncio.timeout(20):
            while measured(cluster)["a"] == "Here":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    finally:
        await operator.stop()
