"""Which tails the tables use, and on which Triton servers. Pure."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping

from edge_api import Placement
from edge_api.devicepools import DevicePoolSpec
from edge_operator.cluster import Object
from edge_operator.keys import TailKey
from edge_operator.names import FORMER_TAILS_ANNOTATION
from edge_operator.nodes.runtimes import has_switched
from edge_operator.tritons.addresses import server_of
from edge_operator.tritons.tail_models import Backend, Tail


def tails_of(placements: Iterable[Placement], pool: DevicePoolSpec, owner: str) -> dict[TailKey, Tail]:
    """Returns the tails that the tables use. owner: the installation that loads them."""
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
                        size=stage.slice.size,
                        owner=owner,
                    )
    return found


def tail_keys(placement_bodies: Iterable[Object]) -> frozenset[TailKey]:
    """Returns the tails in Placement objects of any service, even if an object is otherwise invalid."""
    return frozenset(
        TailKey(stage["address"], stage["model"]) for body in placement_bodies for stage in _tail_stages(body)
    )


def placed_sizes(placement_bodies: Iterable[Object]) -> dict[TailKey, int]:
    """Returns the bytes of the slices of the published tails, by the host and port of their server."""
    return {
        TailKey(server_of(stage["address"]), stage["model"]): int((stage.get("slice") or {}).get("size") or 0)
        for body in placement_bodies
        for stage in _tail_stages(body)
    }


def in_use(placement_bodies: Iterable[Object]) -> frozenset[TailKey]:
    """Returns the tails of the published tables and of those that runtimes may still use.

    A runtime that has not reported the published table yet, e.g. of a node that is offline, uses the one that
    it reported last.
    """
    used: set[TailKey] = set()
    for body in placement_bodies:
        used |= tail_keys([body])
        if not has_switched(body):
            used |= _former(body)
    return frozenset(used)


def is_idle(placement: Object) -> bool:
    """Whether the runtime has let go of the sessions of the newest table. The object may be invalid."""
    return has_switched(placement) and (placement.get("status") or {}).get("idle") is True


def needed(placement_bodies: Iterable[Object]) -> frozenset[TailKey]:
    """Returns the tails in use that must stay loaded.

    The runtime of an idle service uses its tails only after they are loaded again.
    """
    return in_use(body for body in placement_bodies if not is_idle(body))


def former_tails(current: Object) -> str:
    """Returns the annotation of a Placement that replaces `current`: the tails that its runtime uses now."""
    kept = tail_keys([current]) if has_switched(current) else _former(current)
    return json.dumps(sorted(kept))


def servers(known: Iterable[str], listed: Iterable[str]) -> frozenset[str]:
    """Returns the addresses of Triton servers that may hold tails: `listed` by pools, or `known`.

    A known address that differs from a listed one in the scheme alone is the same server; the listed one is
    used.
    """
    current = frozenset(listed)
    ends = {server_of(address) for address in current}
    return current | {address for address in known if server_of(address) not in ends}


def without(table: Placement, refused: Collection[TailKey]) -> Placement:
    """Returns the table without the routes that use these tails, or the same table if no route does."""
    routes = tuple(
        route
        for route in table.spec.routes
        if not any((stage.address, stage.model) in refused for stage in route.stages)
    )
    if len(routes) == len(table.spec.routes):
        return table
    return table.model_copy(update={"spec": table.spec.model_copy(update={"routes": routes})})


def pool_addresses(pool: Object) -> frozenset[str]:
    """Returns the addresses of the Triton servers in a DevicePool object, even if it is otherwise invalid."""
    listed = pool.get("spec", {}).get("tritonServers") or []
    return frozenset(
        f"{server.get('scheme', 'HTTP').lower()}://{server['httpAddress']}"
        for server in listed
        if server.get("httpAddress")
    )


def _tail_stages(body: Object) -> Iterator[Object]:
    for field in ("routes", "intermediateSlices"):
        for chain in body.get("spec", {}).get(field) or []:
            for stage in chain.get("stages", []):
                if stage.get("runtime") == "Triton" and stage.get("address") and stage.get("model"):
                    yield stage


def _former(body: Object) -> frozenset[TailKey]:
    text = (body["metadata"].get("annotations") or {}).get(FORMER_TAILS_ANNOTATION, "[]")
    try:
        return frozenset(TailKey(str(address), str(name)) for address, name in json.loads(text))
    except (ValueError, TypeError):
        return frozenset()
