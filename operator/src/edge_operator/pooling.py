"""A pool's reconcile: nothing but its status, since what runs on it belongs to the services."""

from edge_operator.api import DevicePool
from edge_operator.api.objects import written
from edge_operator.cluster import DEVICE_POOLS, NODES
from edge_operator.pools import missing_certificates, node_of
from edge_operator.runs import Clients, Clock, PoolKey
from edge_operator.settings import Settings
from edge_operator.status import pool_status


def reconcile_pool(key: PoolKey, clients: Clients, settings: Settings, clock: Clock) -> None:
    """Writes what the pool selects, on change."""
    body = clients.cluster.get(DEVICE_POOLS, None, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return
    pool = DevicePool.model_validate(body)
    nodes = [node_of(node) for node in clients.cluster.find(NODES)]
    status = written(pool_status(pool, nodes, clock.wall(), missing_certificates(pool.spec, settings)))
    if status != body.get("status"):
        clients.cluster.apply_status(DEVICE_POOLS, None, key.name, status)
