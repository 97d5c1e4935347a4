"""Only what changes a node's place in a pool concerns the pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.devicepools import DevicePoolSpec, NodeGroup
from edge_api.inferenceservices import EntryNodes
from edge_operator.observed.changes import Change, Selectors, concerned
from edge_operator.ownership import Claim
from edge_operator.pool_nodes import Node

POOL = DevicePoolSpec.model_validate(
    {
        "nodes": [
            {"deviceClass": "camera", "nodeSelector": {"class": "camera"}},
            {"deviceClass": "gateway", "nodeSelector": {"class": "gateway"}},
        ],
        "tritonServers": [
            {
                "name": "cloud",
                "httpAddress": "triton:8000",
                "deviceClass": "cloud",
                "nodeSelector": {"gpu": "yes"},
            }
        ],
    }
)
ENTRIES = EntryNodes.model_validate({"nodeSelector": {"door": "front"}})
POOLS = {"factory": Selectors(POOL, (ENTRIES,))}


def node(labels: str = "", *, ready: bool = True, memory: float = 4e9) -> Node:
    return Node("edge-a", dict(part.split("=") for part in labels.split()), ready=ready, memory=memory)


@pytest.mark.parametrize(
    ("change", "concerns"),
    [
        ((None, node("class=camera")), True),
        ((node("class=camera"), None), True),
        ((None, node("class=printer")), False),
        ((node("class=camera"), node("class=gateway")), True),
        ((node("class=camera"), node("class=camera rack=7")), False),
        ((node("class=camera"), node("class=camera door=front")), True),
        ((node("rack=7"), node("rack=7 door=front")), False),
        ((node("gpu=yes"), node()), True),
        ((node("class=camera"), node("class=camera", ready=False)), True),
        ((node("rack=7"), node("rack=7", ready=False)), False),
        ((node("class=camera"), node("class=camera", memory=2e9)), True),
        ((node("rack=7"), node("rack=7", memory=2e9)), False),
    ],
)
def test_a_pool_is_concerned_by_its_selectors_the_readiness_and_the_capacity(
    change: Change, *, concerns: bool
) -> None:
    assert concerned([change], POOLS) == ({"factory"} if concerns else set())


RACKS = NodeGroup.model_validate({"deviceClass": "rack", "nodeSelector": {"rack": "7"}})
OLDER = (
    Claim("2026-01-01T00:00:00Z", "racks", (RACKS,)),
    Claim("2026-02-01T00:00:00Z", "factory", POOL.nodes),
)


@pytest.mark.parametrize(
    ("change", "concerns"),
    [
        ((node("class=camera"), node("class=camera rack=7")), True),
        ((node("class=camera rack=7"), node("class=camera")), True),
        ((node("rack=7"), node("rack=7 class=camera")), True),
        ((node("class=camera rack=7"), node("class=camera rack=7", ready=False)), False),
        ((node("class=camera rack=7"), node("class=camera rack=7 door=front")), True),
        ((node("gpu=yes rack=7"), node("gpu=yes rack=7", ready=False)), True),
    ],
)
def test_a_node_that_an_older_pool_has_concerns_a_pool_only_as_that_changes(
    change: Change, *, concerns: bool
) -> None:
    assert concerned([change], POOLS, OLDER) == ({"factory"} if concerns else set())


NODES = st.none() | st.builds(
    Node,
    st.just("edge-a"),
    st.dictionaries(st.sampled_from(["class", "gpu", "rack"]), st.sampled_from(["camera", "yes", "7"])),
    ready=st.booleans(),
)


@given(st.lists(st.tuples(NODES, NODES), max_size=4))
def test_changes_together_concern_what_each_concerns(changes: list[Change]) -> None:
    together = frozenset[str]().union(*(concerned([change], POOLS) for change in changes))
    assert concerned(changes, POOLS) == together


@given(NODES)
def test_no_change_concerns_no_pool(same: Node | None) -> None:
    assert concerned([(same, same)], POOLS) == frozenset()
