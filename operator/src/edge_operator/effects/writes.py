"""Writes to the API server what a plan decided on. Blocking."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_operator.cluster import Cluster
from edge_operator.errors import ObjectRefusedError, WriteConflictError
from edge_operator.foreign import refuse_foreign
from edge_operator.names import API_VERSION
from edge_operator.pool.actions import (
    Apply,
    Delete,
    Event,
    ObjectRef,
    SetFinalizers,
    SetStatus,
    Write,
    wanted_by,
)
from edge_operator.pool.states import Refusal
from edge_operator.versions import covers


@dataclass(slots=True)
class Written:
    """The result of writes.

    refused: what the API server refused. altered: what it stored otherwise, as CRDs of another version or a
    webhook can do. conflict: the write whose object was not there any more as it was seen. The writes after
    one that was refused or that conflicted were left out.
    """

    refused: dict[ObjectRef, Refusal] = field(default_factory=dict)
    altered: set[ObjectRef] = field(default_factory=set)
    conflict: Write | None = None

    @property
    def as_wanted(self) -> bool:
        """Whether the objects are as the plan wants them, so that another write is not due."""
        return not self.refused and not self.altered and self.conflict is None


def write(cluster: Cluster, writes: Iterable[Write]) -> Written:
    """Carries out writes in order, up to the first that is refused or that conflicts with another client's.

    Raises ClusterError for other errors.
    """
    found = Written()
    for action in writes:
        try:
            as_wanted = _write(cluster, action)
        except ObjectRefusedError as error:
            if not isinstance(action, Event):
                found.refused[action.ref] = Refusal(wanted_by(action), str(error))
            logging.getLogger(__name__).warning("%s", error)
            return found
        except WriteConflictError as error:
            found.conflict = action
            logging.getLogger(__name__).info("%s: it is planned again", error)
            return found
        if not as_wanted and not isinstance(action, Event):
            found.altered.add(action.ref)
            logging.getLogger(__name__).warning(
                "%s: the API server does not store it as it is applied: apply the CRDs of this version, or "
                "exempt it from the webhook that changes it",
                _noun(action.ref),
            )
    return found


def _write(cluster: Cluster, action: Write) -> bool:
    """Returns whether what is stored now is what was to be written."""
    match action:
        case Apply(body=body, known=known, own=own):
            seen = refuse_foreign(cluster, body, known) if own else known
            applied = cluster.apply(body, seen)
            # A Job is applied once, and the API server has its own spelling of what it consists of.
            return action.ref.kind.api_version != API_VERSION or covers(applied, body)
        case Delete(known=known):
            cluster.delete(*action.ref, known)
        case SetFinalizers(current=current, finalizers=finalizers):
            cluster.set_finalizers(action.ref.kind, current, list(finalizers))
        case SetStatus(regarding=seen, status=status, events=events):
            stored = cluster.apply_status(action.ref.kind, seen, status)
            for event in events:
                _record(cluster, event)
            return stored is None or stored.get("status") == status
        case Event():
            _record(cluster, action)
    return True


def _record(cluster: Cluster, event: Event) -> None:
    cluster.record(event.regarding, event.type, event.reason, event.message)
    if event.type == "Warning" or event.regarding["kind"] == "InferenceService":
        metadata = event.regarding["metadata"]
        where = f"{metadata.get('namespace', '')}/{metadata['name']}"
        logging.getLogger(__name__).info("%s: %s: %s", where, event.reason, event.message)


def _noun(ref: ObjectRef) -> str:
    return " ".join((ref.kind.kind, "/".join(filter(None, (ref.namespace, ref.name)))))
