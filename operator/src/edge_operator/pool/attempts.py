"""Attempts to measure a device class: what their Job records, why one failed, when the next is due. Pure.

Nothing but the Job records an attempt: an operator that restarts continues the backoff.
"""

import datetime
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_operator.cluster import Object
from edge_operator.names import (
    ATTEMPT_ANNOTATION,
    CIRCUMSTANCES_ANNOTATION,
    EXITS_ANNOTATION,
    FAILURE_ANNOTATION,
    MODEL_LABEL,
    NODE_LABEL,
    label_value,
)
from edge_operator.pool_nodes import PoolMember
from edge_operator.settings import Settings

FIRST_RETRY = 15.0
"""Seconds from the end of the first attempt to the second; each further delay is twice as long."""
LAST_RETRY = 1800.0
"""The longest of these delays."""
_DOUBLINGS = 10
"""More than it takes to reach the last retry."""
_WATCHED_SITES = 8
"""Nodes of a class whose changes start a new series: in a large class, some node always leaves or returns."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to measure the exits with these outputs.

    circumstances: fingerprint of what it runs with and where. failure: of the attempt before; empty at first.
    """

    exits: frozenset[str]
    circumstances: str
    number: int = 1
    failure: str = ""

    def annotations(self) -> dict[str, str]:
        """Returns the annotations of the attempt's Job."""
        return {
            EXITS_ANNOTATION: json.dumps(sorted(self.exits)),
            CIRCUMSTANCES_ANNOTATION: self.circumstances,
            ATTEMPT_ANNOTATION: str(self.number),
            FAILURE_ANNOTATION: self.failure[:1024],
        }

    def next(self, exits: Collection[str], circumstances: str, failure: str) -> "Attempt":
        """Returns the attempt after this one; the first of a new series if it is outdated."""
        if self.outdated(exits, circumstances):
            return Attempt(self.exits | frozenset(exits), circumstances)
        return Attempt(self.exits, circumstances, self.number + 1, failure)

    def outdated(self, exits: Collection[str], circumstances: str) -> bool:
        """Whether another attempt can end otherwise: it has more exits, another image, or other nodes.

        Exits are only ever added: services with different exits do not repeat each other's attempts.
        """
        return not self.exits.issuperset(exits) or self.circumstances != circumstances


def attempt_of(job: Object) -> Attempt:
    """Reads a Job, which an earlier version can have made."""
    notes = job["metadata"].get("annotations") or {}
    number = notes.get(ATTEMPT_ANNOTATION, "1")
    try:
        exits = frozenset(map(str, json.loads(notes.get(EXITS_ANNOTATION, "[]"))))
    except (ValueError, TypeError):
        exits = frozenset()
    return Attempt(
        exits,
        notes.get(CIRCUMSTANCES_ANNOTATION, ""),
        int(number) if number.isdecimal() else 1,
        notes.get(FAILURE_ANNOTATION, ""),
    )


def circumstances(settings: Settings, sites: Sequence[PoolMember]) -> str:
    """Returns a fingerprint of what a measurement depends on besides the model: image, resources, nodes."""
    nodes = [[site.node.name, [str(each) for each in site.tolerations]] for site in sites[:_WATCHED_SITES]]
    found = [settings.runtime_image, dict(settings.runtime_resources), nodes]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def in_order(sites: Sequence[PoolMember], job: Object | None) -> list[PoolMember]:
    """Returns the nodes in the order in which they are tried: those after the node of the last Job first."""
    considered = list(sites)
    last = node_of(job) if job is not None else ""
    at = next((i for i, site in enumerate(considered) if label_value(site.node.name) == last), -1)
    return considered[at + 1 :] + considered[: at + 1]


def node_of(job: Object) -> str:
    """Returns the node of a Job, as a label value."""
    return str((job["metadata"].get("labels") or {}).get(NODE_LABEL, ""))


def retry_at(job: Object) -> datetime.datetime | None:
    """Returns when the attempt after a Job that ended is due; None if the Job does not say when it ended.

    The delay doubles from 15 s to 30 min. The Job's uid, which is random, spreads it from 3/4 to 5/4.
    """
    ended = ended_at(job)
    if ended is None:
        return None
    spread = hashlib.sha256(str(job["metadata"].get("uid", "")).encode()).digest()[0] / 255
    delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(attempt_of(job).number - 1, _DOUBLINGS))
    return ended + datetime.timedelta(seconds=round(delay * (0.75 + spread / 2)))


def outcome(job: Object) -> str | None:
    """Returns Complete or Failed; None while the Job runs."""
    ended = _end(job)
    return ended["type"] if ended is not None else None


def failed_since(before: Mapping[str, Object], now: Mapping[str, Object]) -> frozenset[str]:
    """Returns the labels of the models of Jobs that have failed since an earlier look. Jobs are by name."""
    return frozenset(
        str((job["metadata"].get("labels") or {}).get(MODEL_LABEL, ""))
        for name, job in now.items()
        if outcome(job) == "Failed" and not (name in before and _same_end(before[name], job))
    )


def ended_at(job: Object) -> datetime.datetime | None:
    """Returns when a Job ended; None if it does not say so."""
    text = (_end(job) or {}).get("lastTransitionTime")
    return datetime.datetime.fromisoformat(text) if text else None


def created_at(job: Object) -> datetime.datetime | None:
    """Returns when a Job was created."""
    text = job["metadata"].get("creationTimestamp")
    return datetime.datetime.fromisoformat(text) if text else None


def failure(job: Object, pods: Iterable[Object], memory: str = "") -> str:
    """Returns why a Job failed: what its last container printed, or how it ended. memory: its limit."""
    for pod in reversed(list(pods)):
        for status in pod.get("status", {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                limit = f" of {memory}" if memory else ""
                return (
                    f"the measurement exceeded its memory limit{limit} (OOMKilled): raise "
                    "runtime.resources.limits.memory of the chart"
                )
            if ended.get("exitCode"):
                lines = str(ended.get("message") or "").strip().splitlines()
                return lines[-1].strip() if lines else f"exit code {ended['exitCode']}"
        if pod.get("status", {}).get("reason"):
            status = pod["status"]
            return f"{status['reason']}: {status.get('message', '')}".strip(": ")
    ended = _end(job) or {}
    said = [str(ended[field]) for field in ("reason", "message") if ended.get(field)]
    return ": ".join(said) or "no cause given"


def _same_end(before: Object, job: Object) -> bool:
    return before["metadata"].get("uid") == job["metadata"].get("uid") and outcome(before) == outcome(job)


def _end(job: Object) -> Object | None:
    found = job.get("status", {}).get("conditions") or []
    return next((c for c in found if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)
