"""Actions that a plan decides on; values that the executor carries out."""

from dataclasses import dataclass
from typing import NamedTuple

from edge_operator.cluster import KINDS, Kind, Object
from edge_operator.keys import ServiceKey, TailKey
from edge_operator.tritons.tail_models import Tail


class ObjectRef(NamedTuple):
    """An object of the API server. namespace: None for one of the whole cluster."""

    kind: Kind
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Applies an object. known: the object as last seen; None if there was none.

    own: whether an object of this name that belongs to something else must not be taken over.
    """

    body: Object
    known: Object | None = None
    own: bool = False

    @property
    def ref(self) -> ObjectRef:
        """The object."""
        return ref_of(self.body)


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes an object as last seen, and its dependents."""

    known: Object

    @property
    def ref(self) -> ObjectRef:
        """The object."""
        return ref_of(self.known)


@dataclass(frozen=True, slots=True)
class SetFinalizers:
    """Replaces the finalizers of an object, unless it changed since it was seen as `current`."""

    current: Object
    finalizers: tuple[str, ...]

    @property
    def ref(self) -> ObjectRef:
        """The object."""
        return ref_of(self.current)


@dataclass(frozen=True, slots=True)
class Event:
    """Records an Event about an object. type: Normal or Warning."""

    regarding: Object
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Replaces the status of an object unless it changed since it was seen, then records events."""

    regarding: Object
    status: Object
    events: tuple[Event, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        """The object."""
        return ref_of(self.regarding)


Write = Apply | Delete | SetFinalizers | Event | SetStatus


@dataclass(frozen=True, slots=True)
class LoadTails:
    """Loads a service's tails into one Triton server, as far as they fit.

    field: of the DevicePool that declares the server's memory, with that memory in bytes; None if none does.
    replaceable: whether no tail is loaded unless all of them fit, because another server can be used.
    """

    service: ServiceKey
    address: str
    tails: tuple[Tail, ...]
    server: str = ""
    memory: int | None = None
    field: str = ""
    replaceable: bool = False


@dataclass(frozen=True, slots=True)
class UnloadTails:
    """Unloads the tails of a deleted service from one Triton server, unless another service uses them."""

    service: ServiceKey
    address: str
    tails: tuple[TailKey, ...]


def wanted_by(action: Write) -> Object:
    """Returns what an action writes, by which a refusal of the same is found."""
    match action:
        case Apply(body=body):
            return body
        case SetStatus(status=status):
            return status
        case SetFinalizers(finalizers=finalizers):
            return {"finalizers": list(finalizers)}
    return {}


def ref_of(body: Object) -> ObjectRef:
    """Returns the reference to an object."""
    metadata = body["metadata"]
    return ObjectRef(KINDS[body["kind"]], metadata.get("namespace"), metadata["name"])
