"""Deletes a service: its pods, its tails, then the finalizer, even if Triton does not respond."""

import datetime

from edge_api import reasons
from edge_operator import residency
from edge_operator.cluster import DEPLOYMENTS, DEVICE_POOLS, INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.errors import TritonError
from edge_operator.names import FINALIZER, SERVICE_LABEL, label_value
from edge_operator.runs import Clients, Memory, ServiceKey

PATIENCE = 30.0
"""Seconds that a deletion waits for a Triton server that does not answer."""
_RETRY = 5.0


def remove_service(
    key: ServiceKey, body: Object, clients: Clients, memory: Memory, now: datetime.datetime, scope: str | None
) -> float | None:
    """Tries once to delete a service. Returns the seconds until the next attempt, or None when it is gone."""
    if FINALIZER not in (body["metadata"].get("finalizers") or []):
        return None
    selector = f"{SERVICE_LABEL}={label_value(key.name)}"
    placements = clients.cluster.find(PLACEMENTS, key.namespace, selector)
    # Read before the Placements are deleted, since they record where tails are.
    known = memory.addresses | {tail.address for tail in residency.tail_keys(placements)}
    memory.addresses = residency.servers(known, _pool_addresses(body, clients))
    for kind in (DEPLOYMENTS, PLACEMENTS):
        for owned in clients.cluster.find(kind, key.namespace, selector):
            clients.cluster.delete(kind, key.namespace, owned["metadata"]["name"])
    memory.published = frozenset()
    try:
        left = residency.forget(clients, key, memory.addresses, scope)
        trouble = f"Triton at {', '.join(left)} does not respond" if left else ""
    except TritonError as error:
        trouble = str(error)
    if trouble:
        deleted_at = datetime.datetime.fromisoformat(body["metadata"]["deletionTimestamp"])
        if (now - deleted_at).total_seconds() < PATIENCE:
            return _RETRY
        message = (
            f"deleted without unloading its tails: {trouble}: unload models named "
            f"{key.namespace}-{key.name}-* in Triton, or restart it"
        )
        clients.cluster.record(body, "Warning", reasons.TAILS_LEFT, message)
    kept = [name for name in body["metadata"]["finalizers"] if name != FINALIZER]
    clients.cluster.set_finalizers(INFERENCE_SERVICES, body, kept)
    return None


def _pool_addresses(body: Object, clients: Clients) -> set[str]:
    pool = clients.cluster.get(DEVICE_POOLS, None, body["spec"]["devicePool"])
    servers = pool["spec"].get("tritonServers", []) if pool is not None else []
    return {f"{server.get('scheme', 'HTTP').lower()}://{server['httpAddress']}" for server in servers}
