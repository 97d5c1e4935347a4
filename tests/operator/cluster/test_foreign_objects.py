"""Objects that another client made are refused, with as few reads as possible."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_operator.cluster import Kind, Object
from edge_operator.errors import ObjectRefusedError
from edge_operator.foreign import refuse_foreign
from edge_operator.names import MANAGED_BY

FOREIGN = {"metadata": {"name": "digits", "namespace": "shop", "uid": "theirs", "resourceVersion": "3"}}


@dataclass
class Mirrored:
    """A mirror and an API server with one object each, or none."""

    mirrored: Object | None = None
    stored: Object | None = None
    reads: list[str] = field(default_factory=list)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        return self.mirrored

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        self.reads.append(f"{kind.plural}/{name}")
        return self.stored


def wanted(kind: str) -> Object:
    metadata = {
        "name": "digits",
        "namespace": "shop",
        "labels": dict.fromkeys(MANAGED_BY, "edge-intelligence"),
    }
    return {"kind": kind, "metadata": metadata}


@pytest.mark.parametrize("kind", ["Placement", "Service", "Deployment"])
def test_the_first_apply_tells_of_another_clients_object(kind: str) -> None:
    cluster: Any = Mirrored(stored=FOREIGN)
    assert refuse_foreign(cluster, wanted(kind), None) is None
    assert cluster.reads == []


def test_an_object_without_fields_that_conflict_is_read_before() -> None:
    cluster: Any = Mirrored(stored=FOREIGN)
    with pytest.raises(ObjectRefusedError, match="ServiceAccount shop/digits"):
        refuse_foreign(cluster, wanted("ServiceAccount"), None)


def test_an_object_that_a_conflict_made_known_is_refused_until_it_is_gone() -> None:
    cluster: Any = Mirrored(mirrored=FOREIGN, stored=FOREIGN)
    with pytest.raises(ObjectRefusedError, match="something other than this operator"):
        refuse_foreign(cluster, wanted("Service"), None)
    cluster.stored = None
    assert refuse_foreign(cluster, wanted("Service"), None) is None
    assert cluster.reads == ["services/digits"] * 2


def test_an_object_of_the_operator_needs_no_read() -> None:
    own = {"metadata": wanted("Service")["metadata"] | {"uid": "ours", "resourceVersion": "4"}}
    cluster: Any = Mirrored()
    assert refuse_foreign(cluster, wanted("Service"), own) is own
    assert cluster.reads == []
