"""A node belongs to the oldest pool that selects it, and to that one alone."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge_api.devicepools import DevicePoolSpec, NodeGroup
from edge_operator.ownership import (
    Claim,
    claim_of,
    contested,
    from_the_oldest,
    older,
    owner,
    ownership_text,
    shared_out,
)
from edge_operator.pool_nodes import Node

LABELS = ("north", "south", "roof")
GROUPS = {
    label: NodeGroup.model_validate({"deviceClass": label, "nodeSelector": {label: "yes"}})
    for label in LABELS
}
POOLS = ("a", "b", "c", "d")

labels = st.lists(st.sampled_from(LABELS), unique=True)
nodes = st.lists(labels, max_size=6).map(
    lambda every: tuple(
        Node(f"node-{number}", dict.fromkeys(each, "yes"), ready=True) for number, each in enumerate(every)
    )
)


@st.composite
def claims(draw: st.DrawFn) -> tuple[Claim, ...]:
    names = draw(st.lists(st.sampled_from(POOLS), unique=True))
    return tuple(
        Claim(f"2026-01-0{draw(st.integers(1, 3))}T00:00:00Z", name, tuple(GROUPS[e] for e in draw(labels)))
        for name in names
    )


def members(every: Sequence[Claim], pool: Claim, there: Sequence[Node]) -> set[str]:
    if not pool.groups:
        return set()
    own, lost = shared_out(DevicePoolSpec(nodes=pool.groups), there, older(every, pool.pool))
    assert not {m.node.name for m in own} & {each.member.node.name for each in lost}
    return {member.node.name for member in own}


@given(claims(), nodes)
def test_each_node_that_a_pool_selects_is_in_exactly_one_pool(
    every: tuple[Claim, ...], there: tuple[Node, ...]
) -> None:
    found = [(name, pool) for pool in every for name in members(every, pool, there)]
    expected = [(node.name, owner(node, from_the_oldest(every))) for node in there]
    assert sorted((name, pool.pool) for name, pool in found) == sorted(each for each in expected if each[1])


@given(claims(), claims(), nodes)
def test_every_pool_that_gains_or_loses_a_node_is_contested(
    before: tuple[Claim, ...], after: tuple[Claim, ...], there: tuple[Node, ...]
) -> None:
    then, now = {each.pool: each for each in before}, {each.pool: each for each in after}
    unchanged = [name for name in then.keys() & now.keys() if then[name] == now[name]]
    moved = {
        name for name in unchanged if members(before, then[name], there) != members(after, now[name], there)
    }
    assert moved <= contested(there, before, after)


def test_a_change_of_a_pool_that_shares_no_node_contests_no_other() -> None:
    there = (Node("one", {"north": "yes"}, ready=True), Node("two", {"south": "yes"}, ready=True))
    north, south = Claim("1", "a", (GROUPS["north"],)), Claim("2", "b", (GROUPS["south"],))
    wider = Claim("1", "a", (GROUPS["north"], GROUPS["roof"]))
    assert contested(there, (north, south), (wider, south)) == frozenset()
    assert contested(there, (north, south), (south,)) == {"a"}


def test_groups_that_can_be_read_count_although_another_field_cannot() -> None:
    body = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "DevicePool",
        "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "nodes": [
                {"deviceClass": "roof", "nodeSelector": {"roof": "yes"}},
                {"deviceClass": "any"},
                {"deviceClass": "Bad name", "nodeSelector": {"north": "yes"}},
            ],
            "links": {"probeInterval": "soon"},
        },
    }
    assert claim_of(body) == Claim("2026-01-01T00:00:00Z", "a", (GROUPS["roof"],))


def test_a_pool_that_is_not_known_has_no_older_ones() -> None:
    assert older((Claim("1", "a", (GROUPS["roof"],)),), "b") == ()


def test_a_message_names_three_nodes_and_three_pools_and_counts_the_others() -> None:
    there = [Node(f"node-{number}", {"north": "yes"}, ready=True) for number in range(5)]
    spec = DevicePoolSpec(nodes=(GROUPS["north"],))
    _, lost = shared_out(spec, there, (Claim("1", "a", (GROUPS["north"],)),))
    assert ownership_text(lost) == "node-0, node-1, node-2 and 2 more to DevicePool a"
    several = [
        each for pool in "abcde" for each in shared_out(spec, there[:1], (Claim("1", pool, spec.nodes),))[1]
    ]
    assert ownership_text(several).endswith("node-0 to DevicePool c; others to 2 more pools")
