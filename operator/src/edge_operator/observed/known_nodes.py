"""The nodes of the cluster, read once for all pools.

Cost: one look at each node's object. Only those of a newer version are read. Nodes that stay the same are the
same values, so that comparing them costs nothing: each pool compares all of them, often for a heartbeat.
"""

from collections.abc import Callable
from typing import Protocol

from edge_operator.cluster import NODES, Kind, Object
from edge_operator.pool_nodes import Node, node_of


class Finds(Protocol):
    """The objects as last seen."""

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]: ...


class KnownNodes:
    """Nodes as they were read last, with the objects that they were read from."""

    def __init__(self, read: Callable[[Object], Node] = node_of) -> None:
        self._read = read
        self._known: dict[str, tuple[Object, Node]] = {}
        self._nodes: tuple[Node, ...] = ()

    def now(self, reads: Finds) -> tuple[Node, ...]:
        """Returns the nodes by name; the same tuple as before, as long as nothing of them has changed."""
        known = {}
        for body in reads.find(NODES):
            name = body["metadata"]["name"]
            before = self._known.get(name)
            if before is not None and before[0] is body:
                known[name] = before
                continue
            node = self._read(body)
            known[name] = body, before[1] if before is not None and before[1] == node else node
        self._known = known
        nodes = tuple(known[name][1] for name in sorted(known))
        if len(nodes) != len(self._nodes) or any(a is not b for a, b in zip(nodes, self._nodes, strict=True)):
            self._nodes = nodes
        return self._nodes
