"""Parses the events of a client process, one JSON object a line. Pure.

`{"event": "ready"}`, `{"event": "answer", "sent", "latency", "right", "exit", "cut" | "error"}`,
`{"event": "link", "at", "bps"}` (null while the link is down), `{"event": "stopped"}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from demo.errors import LoadFailed
from demo.statistics import LinkSample, RequestResult


@dataclass(frozen=True)
class Signal:
    """`ready` or `stopped`."""

    name: str


def read(node: str, line: str) -> RequestResult | LinkSample | Signal:
    """Parses one line of the client at `node`. Raises LoadFailed if it is not an event."""
    try:
        found = json.loads(line)
        match found["event"]:
            case "answer":
                return RequestResult(
                    node,
                    float(found["sent"]),
                    float(found["latency"]),
                    bool(found.get("right", False)),
                    found.get("exit"),
                    found.get("cut"),
                    found.get("error"),
                )
            case "link":
                return LinkSample(node, float(found["at"]), found["bps"])
            case "ready" | "stopped":
                return Signal(found["event"])
    except (ValueError, KeyError, TypeError):
        pass
    raise LoadFailed(f"the client at {node}: {line[:200]!r} is not an event")
