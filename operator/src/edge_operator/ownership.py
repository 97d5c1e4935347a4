"""Which pool a node belongs to: the oldest of those that select it. Pure.

A pool plans with the whole of each of its nodes, so a node has one pool. Triton servers are not owned: pools
can name the same ones.

Cost: `shared_out` compares each node that a pool selects with the selectors of older pools, whatever the
number of services, and only if the pool, an older one or a node changed. With 1,000 nodes and 50 pools of 20
nodes, it takes 2 ms of CPU for each pool; 36 ms for the youngest pool if that selects every node. `contested`
takes 4 ms for a pool of 20 nodes that changed, 84 ms if all 50 pools select all nodes.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import DevicePoolSpec, NodeGroup
from edge_api.selectors import SELECTS_SOMETHING
from edge_operator.cluster import Object
from edge_operator.pool_nodes import Node, PoolMember, group_members, selects
from edge_operator.reading import read

_NAMED = 3
"""Nodes of an owner, and owners, that a message names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pool selects nodes by. created: when the API server created it, as it writes that."""

    created: str
    pool: str
    groups: tuple[NodeGroup, ...] = ()

    @property
    def age(self) -> tuple[str, str]:
        """Orders pools from the oldest; those of one second by name."""
        return self.created, self.pool

    def selects(self, node: Node) -> bool:
        """Whether a group of the pool selects the node."""
        return any(selects(group, node) for group in self.groups)


@dataclass(frozen=True, slots=True)
class LostNode:
    """A node that a pool selects and that belongs to an older pool. owner: the name of that pool."""

    member: PoolMember
    owner: str


def claim_of(body: Object) -> Claim:
    """Returns what a DevicePool selects nodes by.

    Groups count also if another field of the pool cannot be used: its services keep the routes they have.
    """
    metadata = body["metadata"]
    try:
        groups = read(DevicePool, {**body, "status": None}).spec.nodes
    except ValidationError:
        groups = tuple(_readable(body))
    return Claim(str(metadata.get("creationTimestamp") or ""), metadata["name"], groups)


def _readable(body: Object) -> Iterable[NodeGroup]:
    spec = body.get("spec")
    groups = spec.get("nodes") if isinstance(spec, Mapping) else None
    for each in groups if isinstance(groups, Sequence) else ():
        with contextlib.suppress(ValidationError):
            group = NodeGroup.model_validate(each)
            if SELECTS_SOMETHING.check(group) is None:
                yield group


def from_the_oldest(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Returns the claims of the oldest pool first."""
    return tuple(sorted(claims, key=lambda claim: claim.age))


def older(claims: Iterable[Claim], pool: str) -> tuple[Claim, ...]:
    """Returns the claims of the pools that are older than a pool, from the oldest; none if it is unknown."""
    every = from_the_oldest(claims)
    names = [claim.pool for claim in every]
    return every[: names.index(pool)] if pool in names else ()


def owner(node: Node, claims: Iterable[Claim]) -> str:
    """Returns the pool that a node belongs to, "" without one. claims: from the oldest."""
    return next((claim.pool for claim in claims if claim.selects(node)), "")


def owning_group(node: Node, claims: Iterable[Claim]) -> NodeGroup | None:
    """Returns the group that a node is in, which tells what its pods need. claims: from the oldest."""
    groups = (group for claim in claims for group in claim.groups)
    return next((group for group in groups if selects(group, node)), None)


def shared_out(
    pool: DevicePoolSpec, nodes: Iterable[Node], before: Sequence[Claim]
) -> tuple[tuple[PoolMember, ...], tuple[LostNode, ...]]:
    """Returns the nodes of a pool, and those that it selects but older pools have, both by name.

    before: the claims of older pools, from the oldest.
    """
    own, lost = [], []
    for member in group_members(pool, nodes):
        name = owner(member.node, before)
        if name:
            lost.append(LostNode(member, name))
        else:
            own.append(member)
    return tuple(own), tuple(lost)


def contested(nodes: Iterable[Node], before: Iterable[Claim], after: Iterable[Claim]) -> frozenset[str]:
    """Returns the pools for which a change of the claims changes the owner of a node that they select.

    before, after: the claims of all pools. Cost: each node is compared with the claims that changed; only
    those that these select, with all others.
    """
    then, now = ({claim.pool: claim for claim in claims} for claims in (before, after))
    changed = [each for each in (*then.values(), *now.values()) if then.get(each.pool) != now.get(each.pool)]
    orders = [from_the_oldest(claims.values()) for claims in (then, now)]
    found = set[str]()
    for node in nodes:
        if not any(claim.selects(node) for claim in changed):
            continue
        selecting = [[claim.pool for claim in order if claim.selects(node)] for order in orders]
        if selecting[0][:1] != selecting[1][:1]:
            found.update(*selecting)
    return frozenset(found)


def ownership_text(lost: Iterable[LostNode]) -> str:
    """Returns which nodes belong to which pools, e.g. `cam-1, cam-2 to DevicePool factory`."""
    by_owner: dict[str, list[str]] = {}
    for each in lost:
        by_owner.setdefault(each.owner, []).append(each.member.node.name)
    parts = [f"{_some(names)} to DevicePool {name}" for name, names in sorted(by_owner.items())]
    more = len(parts) - _NAMED
    return "; ".join([*parts[:_NAMED], *([f"others to {more} more pools"] if more > 0 else [])])


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return f"{', '.join(names[:_NAMED])} and {more} more" if more > 0 else ", ".join(names)
