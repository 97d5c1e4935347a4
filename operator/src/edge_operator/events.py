"""Events of the operator: repeated ones share an Event object, which is written at most once a minute."""

import datetime
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from edge_operator.names import FIELD_MANAGER

Object = dict[str, Any]

EVERY: Final = 60.0
"""Seconds in which a repeated Event is written once; the others raise its count with the next write."""
_MOST: Final = 10_000
"""Events that are remembered. One that is forgotten is created again."""
_NAME_LIMIT: Final = 200


@dataclass(slots=True)
class _Seen:
    count: int
    written: float


class EventCounts:
    """How often each Event happened. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def count(self, event: Object, now: float) -> int | None:
        """Returns how often it happened; None if it was written less than EVERY seconds before `now`."""
        key = (event["metadata"]["namespace"], event["metadata"]["name"])
        with self._lock:
            seen = self._seen.get(key)
            if seen is None:
                self._seen[key] = _Seen(1, now)
                if len(self._seen) > _MOST:
                    self._seen.popitem(last=False)
                return 1
            self._seen.move_to_end(key)
            seen.count += 1
            if now - seen.written < EVERY:
                return None
            seen.written = now
            return seen.count


def new_event(
    regarding: Object, event_type: str, reason: str, message: str, *, now: datetime.datetime, process: str
) -> Object:
    """Returns the Event about an object; those of a type, a reason and a condition have one name.

    process: distinguishes the names of two runs of the operator, whose counts are not one.
    """
    metadata = regarding["metadata"]
    uid, moment = metadata.get("uid", ""), now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = message.partition(":")[0] if ":" in message else ""
    identity = f"{process}/{regarding['kind']}/{uid}/{event_type}/{reason}/{condition}"
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:_NAME_LIMIT].rstrip('-.')}.{fingerprint}",
            "namespace": metadata.get("namespace") or "default",
        },
        "type": event_type,
        "reason": reason,
        "message": message[:1024],
        "involvedObject": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": uid,
        },
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
