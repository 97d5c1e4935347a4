"""The objects that a viewer may see. Views read nothing else, so that they cannot show others."""

from collections.abc import Callable
from typing import Final

from edge_console.rights import Sight
from edge_operator.cluster import DEVICE_POOLS, NODES, TENANTS, Kind, Object
from edge_operator.explaining.overlays import Reads

_OF_CLUSTER: Final[dict[Kind, Callable[[Sight], bool]]] = {
    DEVICE_POOLS: lambda sight: sight.pools,
    NODES: lambda sight: sight.pools,
    TENANTS: lambda sight: sight.tenants,
}
"""Kinds of the cluster that views read, and who sees them; no viewer sees others."""


class Seen:
    """`Reads` of what a viewer may see."""

    def __init__(self, reads: Reads, sight: Sight) -> None:
        self._reads, self.sight = reads, sight

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Returns the object, or None if it does not exist or is not to be seen."""
        return self._reads.get(kind, namespace, name) if self._shows(kind, namespace or "") else None

    def find(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Object]:
        """Returns the objects of a kind that are to be seen."""
        if not kind.namespaced:
            return self._reads.find(kind, None, labels) if self._shows(kind, "") else []
        found = self._reads.find(kind, namespace, labels)
        return [body for body in found if self.sight.sees(body["metadata"]["namespace"])]

    def _shows(self, kind: Kind, namespace: str) -> bool:
        if kind.namespaced:
            return self.sight.sees(namespace)
        return kind in _OF_CLUSTER and _OF_CLUSTER[kind](self.sight)
