"""Loads tails into Triton servers before a table uses them, and unloads them when none does."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec
from edge_operator.cluster import PLACEMENTS, Object
from edge_operator.errors import TritonError, TritonUnreachableError
from edge_operator.names import is_tail_of
from edge_operator.runs import Clients, ServiceKey, TailKey
from edge_operator.triton import Backend, Tail

GRACE = 30.0
"""Seconds that a tail stays loaded after the last table that names it, for requests in flight."""


def tails_of(placements: Iterable[Placement], pool: DevicePoolSpec) -> dict[TailKey, Tail]:
    """Returns the tails that the tables use."""
    backends: Mapping[str, Backend] = {server.url: server.backend for server in pool.triton_servers}
    found = {}
    for placement in placements:
        for route in placement.spec.routes:
            for stage in route.stages:
                if stage.runtime == "Triton" and stage.address and stage.model:
                    key = TailKey(stage.address, stage.model)
                    found[key] = Tail(
                        address=key.address,
                        name=key.name,
                        backend=backends.get(key.address, "onnxruntime"),
                        digest=stage.slice.digest,
                        inputs=stage.slice.inputs,
                        outputs=stage.slice.outputs,
                    )
    return found


def tail_keys(placement_bodies: Iterable[Object]) -> frozenset[TailKey]:
    """Returns the tails in Placement objects of any service, even if an object is otherwise invalid."""
    return frozenset(
        TailKey(stage["address"], stage["model"])
        for body in placement_bodies
        for field in ("routes", "intermediateSlices")
        for chain in body.get("spec", {}).get(field) or []
        for stage in chain.get("stages", [])
        if stage.get("runtime") == "Triton" and stage.get("address") and stage.get("model")
    )


def servers(known: Iterable[str], listed: Iterable[str]) -> frozenset[str]:
    """Returns the addresses of Triton servers that may hold tails: `listed` by the pool, or `known`.

    A known address that differs from a listed one in the scheme alone is the same server; the listed one is
    used.
    """
    current = frozenset(listed)
    ends = {_end(address) for address in current}
    return current | {address for address in known if _end(address) not in ends}


def _end(address: str) -> str:
    return address.partition("://")[2]


def load_missing(clients: Clients, tails: Mapping[TailKey, Tail]) -> int:
    """Loads the tails that their Triton server lacks; returns how many. Raises TritonError."""
    loaded = 0
    for address in sorted({key.address for key in tails}):
        present = clients.triton.ready(address)
        for key, tail in sorted(tails.items(), key=lambda item: item[0]):
            if key.address == address and key.name not in present:
                clients.triton.load(tail, clients.store.blob(tail.digest))
                loaded += 1
    return loaded


def superseded(
    key: ServiceKey,
    ready: Mapping[str, frozenset[str]],
    used: frozenset[TailKey],
    before: Mapping[TailKey, float],
    now: float,
) -> tuple[list[TailKey], dict[TailKey, float]]:
    """Returns the tails of a service to unload now, and the other unused ones with the time since when.

    ready: what the Triton servers have; used: what any published table names.
    """
    idle = {
        TailKey(address, name)
        for address, names in ready.items()
        for name in names
        if is_tail_of(name, key.namespace, key.name) and TailKey(address, name) not in used
    }
    since = {tail: before.get(tail, now) for tail in idle}
    due = sorted(tail for tail, start in since.items() if now - start >= GRACE)
    return due, {tail: start for tail, start in since.items() if tail not in due}


def unload_superseded(
    clients: Clients,
    key: ServiceKey,
    addresses: Iterable[str],
    before: Mapping[TailKey, float],
    now: float,
    namespace: str | None,
) -> tuple[dict[TailKey, float], frozenset[str]]:
    """Unloads the tails that have been unused for GRACE.

    Returns the tails that are unused for less than that, and the addresses without a response.
    """
    ready, absent = {}, set()
    for address in sorted(set(addresses)):
        try:
            ready[address] = clients.triton.ready(address)
        except TritonUnreachableError:
            absent.add(address)
    if not any(is_tail_of(name, *key) for names in ready.values() for name in names):
        return {}, frozenset(absent)
    used = tail_keys(clients.cluster.find(PLACEMENTS, namespace))
    due, waiting = superseded(key, ready, used, before, now)
    for tail in due:
        clients.triton.unload(*tail)
    return waiting, frozenset(absent)


def forget(clients: Clients, key: ServiceKey, addresses: Iterable[str], namespace: str | None) -> list[str]:
    """Unloads every tail of a deleted service; returns the addresses at which no Triton server responded."""
    absent = []
    used = tail_keys(clients.cluster.find(PLACEMENTS, namespace))
    for address in sorted(set(addresses)):
        try:
            names = [name for name in clients.triton.ready(address) if is_tail_of(name, *key)]
            for name in sorted(names):
                if TailKey(address, name) not in used:
                    clients.triton.unload(address, name)
        except TritonUnreachableError:
            absent.append(address)
    return absent


def dirty_services(
    expected: Mapping[ServiceKey, frozenset[TailKey]],
    ready: Callable[[str], frozenset[str]],
) -> Sequence[ServiceKey]:
    """Returns the services with missing tails: their Triton server restarted or does not respond."""
    present: dict[str, frozenset[str]] = {}
    for address in sorted({tail.address for tails in expected.values() for tail in tails}):
        try:
            present[address] = ready(address)
        except TritonError:  # the reconcile reports the error
            present[address] = frozenset()
    return [
        key
        for key, tails in expected.items()
        if any(tail.name not in present[tail.address] for tail in tails)
    ]
