"""What became of requests, and why the late ones were late. Pure: replies and delays in, counts out."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

_TOLD: Final = 10  # late requests that are told of one by one

Document = dict[str, Any]


def verdict(replies: Sequence[Document], slo: float) -> Document:
    """How many were in time, late, refused with a 5xx or not answered at all; and by what answered."""
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
    """Seconds between start and end for which the machine kept a process from running: its longest stall, or
    all the time for which its threads waited for a core, whichever is more.
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
    """How many of the late would have been in time had caller and runtime never been held up, and the first
    of the others and of these one by one: with what was done to the link or Triton last before their end.
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
