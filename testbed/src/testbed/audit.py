"""The API server's audit log: its policy, and counts of the requests that it records.

The log has metadata only, without the requests of the control plane and of nodes: what remains are those of
ServiceAccounts outside kube-system and of the administrator.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

POLICY, LOG = "policy.yaml", "audit.log"
# The log's size is bounded: this many files of this many MB.
FILES, FILE_MB = 3, 64
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

CONTROL_PLANE = (
    "system:apiserver",
    "kube-apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
)
NOT_RECORDED = (
    {"level": "None", "users": [*CONTROL_PLANE, "system:kube-proxy"]},
    {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
    {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/metrics"]},
)


def policy() -> str:
    """Returns the audit policy."""
    return yaml.safe_dump(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "omitManagedFields": True,
            "rules": [*NOT_RECORDED, {"level": "Metadata"}],
        }
    )


def flags(folder: Path) -> list[str]:
    """Writes the policy into the folder; returns the API server's flags for a log in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / POLICY).write_text(policy())
    return [
        f"--audit-policy-file={folder / POLICY}",
        f"--audit-log-path={folder / LOG}",
        f"--audit-log-maxsize={FILE_MB}",
        f"--audit-log-maxbackup={FILES - 1}",
    ]


def account(namespace: str, name: str) -> str:
    """Returns the user name of a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


@dataclass(frozen=True)
class Request:
    """What a request was: its user, verb and resource (`placements.edge-intelligence.io/status`)."""

    user: str
    verb: str
    resource: str

    @property
    def writes(self) -> bool:
        return self.verb in WRITES


@dataclass(frozen=True)
class RequestCounts:
    """Requests in a time window. Renewals of Leases and opened watches are not among `requests`."""

    requests: Counter[Request] = field(default_factory=Counter)
    leases: Counter[Request] = field(default_factory=Counter)
    watches: Counter[Request] = field(default_factory=Counter)

    def writes(self, of: Callable[[str], bool]) -> int:
        """Returns the number of writes by the users for whom `of` is true."""
        return sum(count for each, count in self.requests.items() if each.writes and of(each.user))

    def reads(self, of: Callable[[str], bool]) -> int:
        """Returns the number of reads by the users for whom `of` is true."""
        return sum(count for each, count in self.requests.items() if not each.writes and of(each.user))

    def by_request(self, of: Callable[[str], bool]) -> dict[str, int]:
        """Returns the requests of the users for whom `of` is true, the most frequent first, for people."""
        found: Counter[str] = Counter()
        for each, count in self.requests.items():
            if of(each.user):
                found[f"{each.verb} {each.resource}"] += count
        return dict(found.most_common())


def count_requests(lines: Iterable[str], start: datetime, end: datetime) -> RequestCounts:
    """Counts the requests that arrived from `start` until before `end`; times have a time zone.

    A request counts once, when it is complete. A line that is cut off is ignored: the last one can be, while
    the server writes.
    """
    found = RequestCounts()
    for event in _events(lines):
        if event["stage"] == "RequestReceived":
            continue
        watch = event["verb"] == "watch"
        # A watch is recorded when it starts and, often hours later, when it ends.
        if event["stage"] != ("ResponseStarted" if watch else "ResponseComplete"):
            continue
        if not start <= datetime.fromisoformat(event["requestReceivedTimestamp"]) < end:
            continue
        resource = _resource(event)
        request = Request(event["user"]["username"], event["verb"], resource)
        if watch:
            found.watches[request] += 1
        elif resource == "leases.coordination.k8s.io":
            found.leases[request] += 1
        else:
            found.requests[request] += 1
    return found


def lines_of(folder: Path) -> Iterator[str]:
    """Yields the lines of the log in the folder, those of rotated files first."""
    current = folder / LOG
    # The API server names a rotated file by its time: audit-2025-01-31T12-00-00.000.log.
    for path in [*sorted(folder.glob("audit-*.log")), *([current] if current.exists() else [])]:
        with path.open(errors="replace") as file:
            yield from file


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _resource(event: dict[str, Any]) -> str:
    reference = event.get("objectRef")
    if not reference:
        return str(event["requestURI"]).partition("?")[0]
    group, part = reference.get("apiGroup"), reference.get("subresource")
    name = f"{reference['resource']}.{group}" if group else reference["resource"]
    return f"{name}/{part}" if part else str(name)
