"""The plan of a service that is being deleted: its objects, the tails that it alone used, then the finalizer.

Pure. What cannot be removed holds the deletion up for a while only: a Triton server that does not respond, or
an object that the API server keeps. It needs no plan of the pool: what the service had there is free for
others once one is made.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from edge_api import reasons
from edge_operator.cluster import Object
from edge_operator.keys import TailKey
from edge_operator.names import FINALIZER
from edge_operator.pool.actions import Delete, Event, SetFinalizers, UnloadTails, Write
from edge_operator.pool.states import ServiceState
from edge_operator.tritons.addresses import same_server
from edge_operator.tritons.residency import in_use, pool_addresses

PATIENCE = 30.0
"""Seconds that a deletion waits for a Triton server that does not answer."""
LONGEST = 120.0
"""Seconds after which a deletion ends in any case, so that a finalizer never hangs."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A deletion, as far as it has come.

    leaving: the tails that the service used. troubled_since: when an attempt to unload some of them failed,
    in seconds of the monotonic clock. PATIENCE counts from then: the API server, which dates the deletion,
    can have another time. begun: when this operator saw the deletion; LONGEST counts from then.
    """

    leaving: frozenset[TailKey] = frozenset()
    troubled_since: float | None = None
    begun: float | None = None
    objects: tuple[Write, ...] = ()
    unloads: tuple[UnloadTails, ...] = ()
    again_at: float = float("inf")
    gone: bool = False


def removal(pool: Object | None, own: ServiceState, before: Removal, now: float) -> Removal:
    """Returns what to do next. pool: the DevicePool, if it exists. now: seconds of a monotonic clock."""
    finalizers = own.body["metadata"].get("finalizers") or []
    if FINALIZER not in finalizers:
        return Removal(gone=True)
    # Read before the Placements are deleted, since they record where tails are.
    leaving = before.leaving | in_use(own.placements)
    there = (*own.legacy, *own.placements)
    objects = tuple(Delete(body) for body in there if not body["metadata"].get("deletionTimestamp"))
    done = frozenset[TailKey]().union(*(o.tails for o in own.unloads.values() if not o.error))
    left = leaving - done
    begun = now if before.begun is None else before.begun
    ends = begun + LONGEST
    if there and now < ends:
        return Removal(leaving, before.troubled_since, begun, objects, again_at=ends)
    unloads = _unloads(pool, own, left)
    troubles = [o.error for o in own.unloads.values() if o.error and o.tails & left]
    since = before.troubled_since
    if troubles and since is None:
        since = now
    due = ends if since is None else min(since + PATIENCE, ends)
    if left and now < due:
        return Removal(leaving, since, begun, (), unloads, due)
    kept = tuple(name for name in finalizers if name != FINALIZER)
    written: list[Write] = [SetFinalizers(own.body, kept)]
    if left:
        written.insert(0, _left_behind(own.body, left, troubles or [_UNANSWERED]))
    if there:
        written.insert(0, _objects_left(own.body, there))
    return Removal(leaving, since, begun, tuple(written))


def _unloads(pool: Object | None, own: ServiceState, left: frozenset[TailKey]) -> tuple[UnloadTails, ...]:
    """Returns the tails to unload by server: at its listed address, since its scheme can have changed."""
    listed = pool_addresses(pool) if pool is not None else frozenset[str]()
    by_address: dict[str, list[TailKey]] = defaultdict(list)
    for tail in sorted(left):
        address = next((each for each in listed if same_server(each, tail.address)), tail.address)
        by_address[address].append(tail)
    return tuple(UnloadTails(own.key, address, tuple(tails)) for address, tails in by_address.items())


_UNANSWERED = f"they were not unloaded in {LONGEST:.0f} s"


def _objects_left(body: Object, there: Sequence[Object]) -> Event:
    names = ", ".join(sorted(f"{each['kind']} {each['metadata']['name']}" for each in there))
    message = (
        f"deleted before {names}: the API server kept them for {LONGEST:.0f} s: remove what refuses their "
        "deletion, such as finalizers of others or an admission webhook"
    )
    return Event(body, "Warning", reasons.OBJECTS_LEFT, message)


def _left_behind(body: Object, left: frozenset[TailKey], troubles: list[str]) -> Event:
    names = ", ".join(sorted({tail.name for tail in left}))
    message = (
        f"deleted without unloading its tails: {'; '.join(troubles)}: they are unloaded once the server "
        f"responds while a DevicePool lists it; otherwise unload {names} or restart Triton"
    )
    return Event(body, "Warning", reasons.TAILS_LEFT, message)
