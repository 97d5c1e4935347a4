"""Deletes a service: its pods, the tails that it alone used, then the finalizer, even if Triton is away."""

from edge_api import reasons
from edge_operator.addresses import same_server, server_of
from edge_operator.cluster import DEPLOYMENTS, DEVICE_POOLS, INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.errors import TritonError
from edge_operator.names import FINALIZER, SERVICE_LABEL, label_value
from edge_operator.residency import in_use, pool_addresses
from edge_operator.runs import Clients, Memory, ServiceKey, TailKey
from edge_operator.tail_models import is_ours

PATIENCE = 30.0
"""Seconds that a deletion waits for a Triton server that does not answer."""
_RETRY = 5.0


def remove_service(
    key: ServiceKey,
    body: Object,
    clients: Clients,
    memory: Memory,
    now: float,
    *,
    scope: str | None,
    owner: str,
) -> float | None:
    """Tries once to delete a service. Returns the seconds until the next attempt, or None when it is gone.

    now: seconds of a monotonic clock; the API server, which dates the deletion, can have another time.
    owner: the installation, whose models alone are unloaded.
    """
    if FINALIZER not in (body["metadata"].get("finalizers") or []):
        return None
    selector = f"{SERVICE_LABEL}={label_value(key.name)}"
    placements = clients.cluster.find(PLACEMENTS, key.namespace, selector)
    # Read before the Placements are deleted, since they record where tails are.
    memory.leaving |= in_use(placements)
    for kind in (DEPLOYMENTS, PLACEMENTS):
        for owned in clients.cluster.find(kind, key.namespace, selector):
            clients.cluster.delete(kind, key.namespace, owned["metadata"]["name"])
    memory.published = frozenset()
    troubles = _unload(body, clients, memory, scope, owner)
    if troubles:
        if memory.leaving_since is None:
            memory.leaving_since = now
        if now - memory.leaving_since < PATIENCE:
            return _RETRY
        names = ", ".join(sorted({tail.name for tail in memory.leaving}))
        message = (
            f"deleted without unloading its tails: {'; '.join(troubles)}: they are unloaded once the server "
            f"responds while a DevicePool lists it; otherwise unload {names} or restart Triton"
        )
        clients.cluster.record(body, "Warning", reasons.TAILS_LEFT, message)
    kept = [name for name in body["metadata"]["finalizers"] if name != FINALIZER]
    clients.cluster.set_finalizers(INFERENCE_SERVICES, body, kept)
    return None


def _unload(body: Object, clients: Clients, memory: Memory, scope: str | None, owner: str) -> list[str]:
    """Unloads the tails that no other service uses; returns what fails, once for each server."""
    if not memory.leaving:
        return []
    used = {(server_of(tail.address), tail.name) for tail in in_use(clients.cluster.find(PLACEMENTS, scope))}
    pool = clients.cluster.get(DEVICE_POOLS, None, body["spec"]["devicePool"])
    listed = pool_addresses(pool) if pool is not None else frozenset[str]()
    troubles: dict[str, str] = {}
    for tail in sorted(memory.leaving):
        address = next((each for each in listed if same_server(each, tail.address)), tail.address)
        if address in troubles:
            continue
        try:
            if (server_of(address), tail.name) not in used and is_ours(
                tail.name, clients.triton.parameters(address, tail.name), owner
            ):
                clients.triton.unload(address, tail.name)
        except TritonError as error:
            troubles[address] = str(error)
            continue
        memory.leaving -= {TailKey(*tail)}
    return list(troubles.values())
