"""Counts the results of requests and why they were late, from replies and delays. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

_TOLD: Final = 10  # late requests that are listed one by one

Document = dict[str, Any]


def verdict(replies: Sequence[Document], slo: float) -> Document:
    """Counts requests in time, late, with status 5xx or without a response; and the routes."""
    answered = [r for r in replies if r["status"] == 200]
    in_time = sum(r["seconds"] <= slo for r in answered)
    return {
        "requests": len(replies),
        "in_time": in_time,
        "in_time_share": round(in_time / len(replies), 5),
        "late": len(answered) - in_time,
        "failed": len(replies) - len(answered),
        "5xx": sum(r["status"] >= 500 for r in replies),
        "most_ms": _ms(max(r["seconds"] for r in replies)),
        "by": dict(Counter(str(r["parameters"].get("route", "none")) for r in replies)),
    }


def held_up(delays: Sequence[Document], start: float, end: float) -> float:
    """Returns the seconds between start and end in which the machine delayed a process.

    This is the larger of its longest stall and the time that its threads waited for a core.
    """
    found = [d for d in delays if d["at"] >= start and d["at"] - d["seconds"] <= end]
    stall: float = max((d["seconds"] for d in found if d["kind"] == "stall"), default=0.0)
    starved: float = sum(d["seconds"] for d in found if d["kind"] == "starved")
    return max(stall, starved)


def excuses(
    replies: Sequence[Document],
    slo: float,
    caller: Sequence[Document],
    runtime: Sequence[Document],
    moments: Sequence[tuple[float, str]],
) -> Document:
    """Counts late requests that would have been in time without delays of caller and runtime.

    Lists the first of these and of the others, with the last change of the link or Triton before their end.
    """
    late = [r for r in replies if r["seconds"] > slo]
    told: list[tuple[bool, Document]] = []
    for reply in late:
        start, seconds = reply["due"], reply["seconds"]
        delays = [held_up(found, start, start + seconds) for found in (caller, runtime)]
        before = [(moment, what) for moment, what in moments if moment <= start + seconds]
        row = {
            "ms": _ms(seconds),
            "route": reply["parameters"].get("route"),
            "caller_held_up_ms": _ms(delays[0]),
            "runtime_held_up_ms": _ms(delays[1]),
            "after": {what: round(start - moment, 3) for moment, what in before[-1:]},
        }
        told.append((seconds - sum(delays) <= slo, row))
    return {
        "late_only_for_the_machine": sum(excused for excused, _ in told),
        "late_requests": [row for _, row in sorted(told, key=lambda entry: entry[0])][:_TOLD],
    }


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 1)
