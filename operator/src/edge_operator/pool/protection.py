"""Keeps a DevicePool or a Tenant that is being deleted until no service uses it. Pure.

It works as Kubernetes protects a PersistentVolumeClaim: the object has a finalizer from the start, and loses
it once it is being deleted and nothing uses it. Until then, its services are planned and served as before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_api import reasons
from edge_operator.cluster import DEVICE_POOLS, Kind, Object
from edge_operator.conditions import Finding
from edge_operator.pool.actions import Event, SetFinalizers
from edge_operator.pool.tenancy import Tenancy

_NAMED: Final = 5
"""Services that the condition names; the others are counted."""
FIXES: Final = {
    "DevicePool": "delete them, or set their spec.devicePool to another DevicePool",
    "Tenant": "delete them, or have another Tenant select their namespaces: change their labels or "
    "spec.namespaceSelector",
}
"""What to do about services that use an object, by its kind."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What to do about an object, and the condition InUse; None if nothing holds up a deletion."""

    write: SetFinalizers | None = None
    finding: Finding | None = None


def protection(body: Object, users: Sequence[str], finalizer: str, *, kind_ends: bool = False) -> Protection:
    """Returns how an object is protected.

    users: the services that use it, as namespace/name. kind_ends: whether its CustomResourceDefinition is
    being deleted, which waits for no service.
    """
    metadata = body["metadata"]
    finalizers = tuple(metadata.get("finalizers") or ())
    if not metadata.get("deletionTimestamp"):
        added = SetFinalizers(body, (*finalizers, finalizer))
        return Protection(None if finalizer in finalizers else added)
    if finalizer not in finalizers:
        return Protection()
    if users and not kind_ends:
        return Protection(finding=_in_use(body["kind"], users))
    return Protection(SetFinalizers(body, tuple(name for name in finalizers if name != finalizer)))


def users(kind: Kind, name: str, services: Iterable[Mapping[str, Any]], tenancy: Tenancy) -> tuple[str, ...]:
    """Returns the services that use a DevicePool or a Tenant, as namespace/name, sorted.

    Services that are being deleted are among them: the addresses of the servers, at which their tails are
    unloaded, are those of the pool.
    """
    found = []
    for body in services:
        namespace = str(body["metadata"]["namespace"])
        if kind == DEVICE_POOLS:
            uses = body["spec"].get("devicePool") == name
        else:
            uses = tenancy.of(namespace) == name
        if uses:
            found.append(f"{namespace}/{body['metadata']['name']}")
    return tuple(sorted(found))


def held_up(body: Object, before: Mapping[str, Any], found: Finding | None) -> tuple[Event, ...]:
    """Returns the event of a deletion that begins to wait. before: the status until now."""
    known = {each.get("type") for each in before.get("conditions") or ()}
    if found is None or found.type in known:
        return ()
    return (Event(body, "Warning", found.reason, found.message),)


def _in_use(kind: str, users: Sequence[str]) -> Finding:
    count = f"{len(users)} InferenceService{'s use' if len(users) > 1 else ' uses'} the {kind}"
    more = len(users) - _NAMED
    listed = ", ".join([*users[:_NAMED], *([f"and {more} more"] if more > 0 else [])])
    message = f"{count} that is being deleted: {listed}: {FIXES[kind]}; the deletion ends once none uses it"
    return Finding(reasons.IN_USE, "True", reasons.USED_BY_SERVICES, message)
