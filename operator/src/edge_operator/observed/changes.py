"""Which pools the change of a node concerns. Pure.

A node has a place in a pool: the group that it belongs to, the Triton servers whose class is profiled on it,
the selectors of entry nodes that select it, and the pool that it belongs to of all that select it. Only a
change of this place, or of the readiness, the host name or the capacity of a node that the pool has or
profiles on, concerns the pool: most labels of a node are of no interest to any pool.

Cost of a changed node: the selectors of each pool, once, and those of the services on the pools that select
it.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from edge_api.devicepools import DevicePoolSpec
from edge_api.earlier import in_this_version
from edge_api.inferenceservices import EntryNodes
from edge_api.selectors import SelectsNodes
from edge_operator.cluster import Object
from edge_operator.ownership import Claim, from_the_oldest, owner
from edge_operator.pool_nodes import Node, selects


@dataclass(frozen=True, slots=True)
class Selectors:
    """What a pool and the services on it select nodes by. entries: of services that have entryNodes."""

    pool: DevicePoolSpec
    entries: tuple[SelectsNodes, ...] = ()


def selectors(services: Iterable[Object], pools: Iterable[Object]) -> dict[str, Selectors]:
    """Returns what selects nodes, by pool; without pools and services that cannot be read."""
    entries: dict[str, list[EntryNodes]] = {}
    for body in services:
        with contextlib.suppress(ValidationError):
            if wanted := body["spec"].get("entryNodes"):
                selector = EntryNodes.model_validate(wanted)
                entries.setdefault(body["spec"]["devicePool"], []).append(selector)
    found = {}
    for body in pools:
        with contextlib.suppress(ValidationError):
            name = body["metadata"]["name"]
            spec = DevicePoolSpec.model_validate(in_this_version(body)["spec"])
            found[name] = Selectors(spec, tuple(entries.get(name, ())))
    return found


Place = tuple[int | None, tuple[int, ...], tuple[int, ...], str]


Change = tuple[Node | None, Node | None]
"""A node before and after: None if it did not or does not exist."""


def concerned(
    changes: Iterable[Change], pools: Mapping[str, Selectors], claims: Iterable[Claim] = ()
) -> frozenset[str]:
    """Returns the names of the pools that changed, new or deleted nodes concern. claims: of all pools."""
    claims, found = from_the_oldest(claims), set[str]()
    for before, after in changes:
        owners = ["" if node is None else owner(node, claims) for node in (before, after)]
        found |= {name for name, each in pools.items() if _concerns(name, (before, after), owners, each)}
    return frozenset(found)


def _concerns(name: str, change: Change, owners: Sequence[str], selectors: Selectors) -> bool:
    """owners: the pool that the node belonged to, and the one that it belongs to."""
    before, after = change
    places = [_place(*each, selectors) for each in zip(change, owners, strict=True)]
    if places[0] != places[1]:
        return True
    if before is None or after is None or places[0] is None:
        return False
    _, servers, _, owner = places[0]
    return (bool(servers) or owner in ("", name)) and _matters(before) != _matters(after)


def _matters(node: Node) -> tuple[object, ...]:
    """Returns what concerns a pool of a node that has a place in it."""
    return node.ready, node.hostname, node.cpu, node.memory


def _place(node: Node | None, owner: str, selectors: Selectors) -> Place | None:
    """Returns the node's place in a pool; None if it has none."""
    if node is None:
        return None
    group = next(iter(_selecting(node, selectors.pool.nodes)), None)
    servers = tuple(_selecting(node, selectors.pool.triton_servers))
    if group is None and not servers:
        return None
    if group is None:
        return group, servers, (), ""
    return group, servers, tuple(_selecting(node, selectors.entries)), owner


def _selecting(node: Node, parts: Iterable[SelectsNodes]) -> Iterable[int]:
    return (index for index, part in enumerate(parts) if selects(part, node))
