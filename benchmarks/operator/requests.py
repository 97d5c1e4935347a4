"""The requests of the operators, as the API server's audit log tells them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was answered.

    Attributes:
        resource: Plural, with the subresource after a slash.
        at: When it arrived, in seconds of Unix time.
        code: Status of the response.
        applies: Whether it is a server-side apply that replaces the fields of others.
    """

    user: str
    verb: str
    resource: str
    at: float
    code: int
    applies: bool = False

    @property
    def counts(self) -> bool:
        """Whether it is one of the operator's work: neither a renewal of the Lease nor a watch."""
        return self.resource != "leases" and self.verb != "watch"

    @property
    def writes(self) -> bool:
        """Whether it is a write, other than one of the Lease."""
        return self.verb in _WRITES and self.resource != "leases"


def read(line: str | bytes) -> Request | None:
    """Returns the request in a line of the log; None if the line is not complete."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    reference = event.get("objectRef") or {}
    parts = [reference.get("resource") or event["requestURI"].partition("?")[0], reference.get("subresource")]
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        code=(event.get("responseStatus") or {}).get("code", 0),
        applies="force=true" in event["requestURI"],
    )


def described(requests: Iterable[Request]) -> dict[str, int]:
    """Returns the numbers of requests by verb and resource, the most frequent first, for people."""
    found = Counter(f"{each.verb} {each.resource} {each.code}" for each in requests if each.counts)
    return dict(found.most_common())


class Log:
    """Reads the log while the API server writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self.seen: list[Request] = []

    def update(self) -> list[Request]:
        """Reads what is new. Returns all requests until now."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            *lines, self._rest = (self._rest + new).split(b"\n")
            self.seen += [found for line in lines if (found := read(line)) is not None]
        return self.seen
