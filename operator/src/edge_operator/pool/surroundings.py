"""Where a service can run: its pool, the nodes of the pool, its entry nodes; or why it cannot run. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from edge_api import DevicePool, reasons
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.validation_messages import sentences
from edge_operator.cluster import Object
from edge_operator.conditions import Blocked
from edge_operator.ownership import Claim, LostNode, ownership_text, shared_out
from edge_operator.pool_nodes import (
    Node,
    PoolMember,
    entries,
    selector_field,
    selector_text,
    taken_names,
)
from edge_operator.reading import read

_PROPOSED = 3
"""Pools that a message proposes."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where services of a pool can run.

    Attributes:
        nodes: Of the cluster.
        members: The nodes of the pool.
        entries: Those that take requests.
        lost: Nodes that the pool selects and that belong to older pools.
    """

    pool: DevicePool
    nodes: tuple[Node, ...]
    members: tuple[PoolMember, ...]
    entries: tuple[PoolMember, ...]
    lost: tuple[LostNode, ...] = ()


def of_pool(
    name: str,
    body: Object | None,
    pools: Iterable[str],
    nodes: tuple[Node, ...],
    older: Sequence[Claim] = (),
) -> Surroundings | Blocked:
    """Returns what the services of a pool have in common, without entry nodes.

    body: of the pool; None if it does not exist. pools: the names of those that do. older: what older pools
    select nodes by, from the oldest.
    """
    if body is None:
        names = sorted(pools)
        fix = f"use one of {', '.join(names)}" if names else "create a DevicePool with this name"
        message = f'spec.devicePool: "{name}" does not exist: {fix}'
        return Blocked(reasons.PLANNED, reasons.DEVICE_POOL_NOT_FOUND, message)
    try:
        pool = read(DevicePool, {**body, "status": None})
    except ValidationError as error:
        wrong = "; ".join(sentences(DevicePool, error))
        return Blocked(reasons.PLANNED, reasons.BAD_DEVICE_POOL, f"DevicePool {name}: {wrong}")
    members, lost = shared_out(pool.spec, nodes, older)
    return Surroundings(pool, nodes, members, (), lost)


def of_service(found: Surroundings, service: InferenceServiceSpec) -> Surroundings:
    """Returns the surroundings with the entry nodes of a service."""
    return replace(found, entries=entries(service, found.members))


def unfit(found: Surroundings, service: InferenceServiceSpec) -> Blocked | None:
    """Returns why nothing can be planned there, if so."""
    name = service.device_pool
    taken = taken_names(found.pool.spec.triton_servers, found.entries)
    if taken:
        return Blocked(reasons.PLANNED, reasons.NAME_TAKEN, f"DevicePool {name}: {taken}")
    if found.entries:
        return None
    lost = _lost_entries(found, service)
    if lost:
        owners = sorted({each.owner for each in lost})
        return Blocked(
            reasons.PLANNED,
            reasons.NO_ENTRY_NODES,
            f'spec.devicePool: "{name}" has none of the entry nodes, which belong to older pools: '
            f"{ownership_text(lost)}: use {' or '.join(owners[:_PROPOSED])}, or change the selectors in "
            "spec.nodes of one of the pools",
        )
    if not found.members:
        return Blocked(
            reasons.PLANNED,
            reasons.NO_NODES,
            f"DevicePool {name}: no node has the labels in spec.nodes[*].nodeSelector: label nodes, or "
            "change the selectors",
        )
    wanted = service.entry_nodes
    assert wanted is not None  # without them, every member is an entry node
    inside = ", ".join(member.node.name for member in found.members)
    return Blocked(
        reasons.PLANNED,
        reasons.NO_ENTRY_NODES,
        f'spec.entryNodes.{selector_field(wanted)}: "{selector_text(wanted)}" selects no node of '
        f"DevicePool {name}: use the labels of some of {inside}",
    )


def _lost_entries(found: Surroundings, service: InferenceServiceSpec) -> tuple[LostNode, ...]:
    """Returns the lost nodes that would be entry nodes; all lost ones if the pool has no other node."""
    names = {member.node.name for member in entries(service, tuple(each.member for each in found.lost))}
    lost = tuple(each for each in found.lost if each.member.node.name in names)
    return lost or (() if found.members else found.lost)
