"""Checks of the nodes and links of pools. Pure."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from edge_api import DevicePool, reasons
from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import ClusterState, condition_of, labels
from edge_cli.services import PublishedTable, published_table
from edge_operator.cluster import DEVICE_POOLS, NODES, PLACEMENTS, TENANTS, Object
from edge_operator.pool_nodes import node_of, selects
from edge_operator.reading import read
from edge_planning.choosing.sentences import bandwidth_text

_CONTROL_PLANE: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def _pools(state: ClusterState) -> Iterator[DevicePool]:
    for body in state.of(DEVICE_POOLS):
        try:
            yield read(DevicePool, body)
        except ValidationError:
            continue  # the pool's own condition says what is wrong


def _without_class(state: ClusterState) -> Iterator[Found]:
    pools = list(_pools(state))
    if not pools:
        return
    parts = [part for pool in pools for part in (*pool.spec.nodes, *pool.spec.triton_servers)]
    for body in state.of(NODES):
        node = node_of(body)
        unschedulable = (body.get("spec") or {}).get("unschedulable")
        if unschedulable or any(name in labels(body) for name in _CONTROL_PLANE):
            continue
        selecting = [part for part in parts if part.node_selector or part.selector]
        if not any(selects(part, node) for part in selecting):
            named = ", ".join(sorted(pool.metadata.name for pool in pools))
            yield at(body, f"no group of DevicePool {named} selects it, so it has no device class")


def _tables(state: ClusterState) -> Iterator[tuple[Object, PublishedTable]]:
    for body in state.of(PLACEMENTS):
        try:
            yield body, published_table(body)
        except ValidationError:
            continue


def _below_every_route(state: ClusterState) -> Iterator[Found]:
    for body, table in _tables(state):
        link, remote = table.link, [route for route in table.routes if route.used_from > 0]
        if link is None or link.state != "Up" or link.bandwidth is None or not remote:
            continue
        least = min(route.used_from for route in remote)
        if link.bandwidth < least:
            said = (
                f"the link of {table.node} to {table.peer or 'Triton'} carries "
                f"{bandwidth_text(link.bandwidth)}, and the first route "
                f"over it needs {bandwidth_text(least)}: only local routes are used"
            )
            yield at(body, said)


def _down(state: ClusterState) -> Iterator[Found]:
    for body, table in _tables(state):
        if table.link is not None and table.link.state == "Down":
            yield at(body, f"the link of {table.node} to {table.peer or 'Triton'} is down")


def _pool_not_ready(state: ClusterState) -> Iterator[Found]:
    for body in state.of(DEVICE_POOLS):
        ready = condition_of(body, reasons.READY)
        if ready.get("status") == "False":
            known = reasons.REASONS.get(str(ready.get("reason")))
            fix = known.fix if known is not None else ""
            yield at(body, f"Ready is False, {ready.get('reason')}: {ready.get('message', '')}", fix)


def _node_not_ready(state: ClusterState) -> Iterator[Found]:
    members = {
        each["name"]
        for body in state.of(DEVICE_POOLS)
        for each in (body.get("status") or {}).get("nodes") or ()
    }
    for body in state.of(NODES):
        node = node_of(body)
        if node.name in members and not node.ready:
            yield at(body, f"is not Ready: {node.not_ready_because}")


def _units_missing(state: ClusterState) -> Iterator[Found]:
    for body in state.of(DEVICE_POOLS):
        found = condition_of(body, reasons.SURVIVES_REBOOT)
        if found.get("status") == "False":
            yield at(body, str(found.get("message", "")))


def _deletion_waits(state: ClusterState) -> Iterator[Found]:
    for body in (*state.of(DEVICE_POOLS), *state.of(TENANTS)):
        found = condition_of(body, reasons.IN_USE)
        if found.get("status") == "True":
            yield at(body, str(found.get("message", "")))


def _no_pools(state: ClusterState) -> str:
    return "" if state.of(DEVICE_POOLS) else "there is no DevicePool"


CHECKS: Final = (
    Check(
        "EI0401",
        "pools",
        "warning",
        "every node has a device class",
        "No runtime and no measurement is placed on a node that no pool selects.",
        "Label the node as a nodeSelector of a DevicePool says, or add a group to the pool; if the node is "
        "not meant to serve, annotate it with edge-intelligence.io/doctor-suppress: EI0401.",
        _without_class,
        reads=(DEVICE_POOLS, NODES),
        skip=_no_pools,
    ),
    Check(
        "EI0402",
        "pools",
        "warning",
        "every link carries at least one route over it",
        "The entry node answers every request by a local route, however good the routes over the link are.",
        "Look for what slows the link down; `ei what-if SERVICE --bandwidth` shows what a faster one gives.",
        _below_every_route,
        reads=(PLACEMENTS,),
        skip=_no_pools,
    ),
    Check(
        "EI0403",
        "pools",
        "error",
        "the pools are ready",
        "Services of the pool lack nodes or Triton servers.",
        "Do what the message says.",
        _pool_not_ready,
        reads=(DEVICE_POOLS,),
        skip=_no_pools,
    ),
    Check(
        "EI0404",
        "pools",
        "warning",
        "the links to Triton are up",
        "The entry node answers every request by a local route.",
        "Check the network of the node, and the Triton server.",
        _down,
        reads=(PLACEMENTS,),
        skip=_no_pools,
    ),
    Check(
        "EI0405",
        "pools",
        "warning",
        "the nodes of the pools are Ready",
        "The node may still serve clients beside it, but gets no new plans.",
        "Bring the node back, or remove it from the cluster.",
        _node_not_ready,
        reads=(DEVICE_POOLS, NODES),
        skip=_no_pools,
    ),
    Check(
        "EI0406",
        "pools",
        "warning",
        "the nodes of groups with survivesReboot have the unit",
        "After a reboot without the control plane, the node serves nothing.",
        "Do what the message says: docs/away-and-back.md.",
        _units_missing,
        reads=(DEVICE_POOLS,),
        skip=_no_pools,
    ),
    Check(
        "EI0407",
        "pools",
        "warning",
        "no deletion of a DevicePool or a Tenant waits for services",
        "The object stays until the last service that uses it is gone, and `kubectl delete` waits.",
        "Do what the message says, or remove the finalizer edge-intelligence.io/in-use from the object.",
        _deletion_waits,
        reads=(DEVICE_POOLS, TENANTS),
    ),
)
