"""Reconciles a pool: writes its status alone, since the objects on its nodes belong to services."""

from pydantic import ValidationError

from edge_api import DevicePool
from edge_api.devicepools import DevicePoolStatus
from edge_api.earlier import earlier_spellings
from edge_api.objects import written
from edge_api.validation_messages import sentences
from edge_operator.cluster import DEVICE_POOLS, NODES, Object
from edge_operator.pools import missing_certificates, node_of
from edge_operator.reading import read, unreadable
from edge_operator.reporting import refusals_recorded
from edge_operator.runs import Clients, Clock, PoolKey
from edge_operator.settings import Settings
from edge_operator.status import pool_status


def reconcile_pool(key: PoolKey, clients: Clients, settings: Settings, clock: Clock) -> None:
    """Writes the selected nodes to the pool's status if they changed."""
    body = clients.cluster.get(DEVICE_POOLS, None, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return
    status = written(_status(body, clients, settings, clock))
    if status != body.get("status"):
        with refusals_recorded(clients, body):
            clients.cluster.apply_status(DEVICE_POOLS, None, key.name, status)


def _status(body: Object, clients: Clients, settings: Settings, clock: Clock) -> DevicePoolStatus:
    try:
        pool = read(DevicePool, body)
    except ValidationError as error:
        return unreadable(DevicePoolStatus, body, sentences(DevicePool, error), ("Ready",), clock.wall())
    nodes = [node_of(node) for node in clients.cluster.find(NODES)]
    untrusted = missing_certificates(pool.spec, settings)
    return pool_status(pool, nodes, clock.wall(), untrusted, earlier_spellings(body))
