"""Nodes are read once for all pools, and stay the same values while nothing of them changes."""

from typing import Any

from edge_operator.cluster import Kind, Object
from edge_operator.observed.known_nodes import KnownNodes
from edge_operator.pool_nodes import Node, node_of


class Cluster:
    def __init__(self, *bodies: Object) -> None:
        self.bodies = list(bodies)

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        return list(self.bodies)


def body(name: str, *, ready: str = "True", heartbeat: int = 0, **labels: str) -> Any:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": f"{heartbeat}"}]
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}


def test_nodes_are_the_same_values_until_something_of_them_changes() -> None:
    cluster, known = Cluster(body("b"), body("a")), KnownNodes()
    before = known.now(cluster)
    assert [node.name for node in before] == ["a", "b"]
    assert known.now(cluster) is before
    cluster.bodies[0] = body("b", heartbeat=1)
    assert known.now(cluster) is before
    cluster.bodies[0] = body("b", ready="False")
    after = known.now(cluster)
    assert [node.ready for node in after] == [True, False]
    assert after[0] is before[0]
    cluster.bodies = [body("a")]
    assert [node.name for node in known.now(cluster)] == ["a"]


def test_only_newer_objects_are_read() -> None:
    read = list[str]()

    def reading(found: Object) -> Node:
        read.append(found["metadata"]["name"])
        return node_of(found)

    cluster, known = Cluster(body("a"), body("b")), KnownNodes(reading)
    known.now(cluster)
    cluster.bodies[1] = body("b", heartbeat=1)
    known.now(cluster)
    known.now(cluster)
    assert read == ["a", "b", "b"]
