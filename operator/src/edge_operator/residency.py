"""Which tails must be in which Triton server: loaded before a table uses them, unloaded after none does."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec
from edge_operator.cluster import PLACEMENTS, Object
from edge_operator.errors import TritonError, TritonUnreachableError
from edge_operator.names import is_tail_of
from edge_operator.runs import Clients, ServiceKey, TailKey
from edge_operator.triton import Backend, Tail

GRACE = 30.0
"""Seconds for which a tail outlives the last table that names it: requests may still be under way."""


def tails_of(placements: Iterable[Placement], pool: DevicePoolSpec) -> dict[TailKey, Tail]:
    """The tails that the tables use."""
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
    """The tails that published Placement objects name, whoever they belong to and whatever else they say."""
    return frozenset(
        TailKey(stage["address"], stage["model"])
        for body in placement_bodies
        for field in ("routes", "relays")
        for chain in body.get("spec", {}).get(field) or []
        for stage in chain.get("stages", [])
        if stage.get("runtime") == "Triton" and stage.get("address") and stage.get("model")
    )


def servers(known: Iterable[str], listed: Iterable[str]) -> frozenset[str]:
    """The addresses of Triton servers that may hold tails: those `listed` by the pool, and those `known`.

    A known one that differs from a listed one by its scheme alone is the same server, asked as the pool says.
    """
    current = frozenset(listed)
    ends = {_end(address) for address in current}
    return current | {address for address in known if _end(address) not in ends}


def _end(address: str) -> str:
    return address.partition("://")[2]


def load_missing(clients: Clients, tails: Mapping[TailKey, Tail]) -> int:
    """Loads those of the tails that their Triton server does not have; returns how many (TritonError)."""
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
    """Which of a service's tails to unload now, and since when those are unused that have to wait.

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
    """Unloads what has been unused for GRACE.

    Returns what has been unused for less, and where no Triton answered: both to look at again.
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
    """Unloads every tail of a service that goes; returns the addresses at which no Triton answered."""
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
    """The services some of whose tails are gone, because their Triton server restarted or gives no answer."""
    present: dict[str, frozenset[str]] = {}
    for address in sorted({tail.address for tails in expected.values() for tail in tails}):
        try:
            present[address] = ready(address)
        except TritonError:  # the reconcile says what is wrong there
            present[address] = frozenset()
    return [
        key
        for key, tails in expected.items()
        if any(tail.name not in present[tail.address] for tail in tails)
    ]
