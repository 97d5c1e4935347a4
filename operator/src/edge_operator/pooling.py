"""Reconciles a pool: writes its status alone, since the objects on its nodes belong to services."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import DevicePoolStatus
from edge_api.earlier import earlier_spellings
from edge_api.objects import written
from edge_api.validation_messages import sentences
from edge_operator.cluster import DEVICE_POOLS, NODES, Object
from edge_operator.control_checks import control_finding
from edge_operator.former_servers import former_servers, listed_servers
from edge_operator.pools import missing_certificates, node_of
from edge_operator.reading import read, unreadable
from edge_operator.reporting import refusals_recorded
from edge_operator.runs import Clients, Clock, PoolKey
from edge_operator.settings import Settings
from edge_operator.status import pool_status


def reconcile_pool(
    key: PoolKey,
    clients: Clients,
    settings: Settings,
    clock: Clock,
    emptied: Collection[str] = (),
    control_open: Mapping[str, bool] = MappingProxyType({}),
) -> None:
    """Writes the selected nodes and the Triton servers to the pool's status if they changed.

    emptied: servers without tails of this installation, which no pool lists. control_open: whether servers
    accept model control without a key, as far as they were checked.
    """
    body = clients.cluster.get(DEVICE_POOLS, None, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return
    before = body.get("status") or {}
    status = written(
        _status(body, clients, settings, clock, control_open).model_copy(
            update={
                "triton_servers": listed_servers(body),
                "former_triton_servers": former_servers(body, emptied, clock.wall()),
            }
        )
    )
    if status != before:
        with refusals_recorded(clients, body):
            clients.cluster.apply_status(DEVICE_POOLS, None, key.name, status)


def _status(
    body: Object, clients: Clients, settings: Settings, clock: Clock, control_open: Mapping[str, bool]
) -> DevicePoolStatus:
    try:
        pool = read(DevicePool, body)
    except ValidationError as error:
        return unreadable(DevicePoolStatus, body, sentences(DevicePool, error), ("Ready",), clock.wall())
    nodes = [node_of(node) for node in clients.cluster.find(NODES)]
    untrusted = missing_certificates(pool.spec, settings)
    control = control_finding(pool, control_open)
    return pool_status(pool, nodes, clock.wall(), untrusted, earlier_spellings(body), control)
