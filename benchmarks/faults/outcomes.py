"""What runs of faults show: counts of requests, invariants that broke, and the rows of the result. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from demo.statistics import RequestResult

SETTLED_SECONDS: Final = 60.0
"""Within which every object must be as before, from the fault's end."""


@dataclass(frozen=True, slots=True)
class Away:
    """A time (monotonic seconds) without expected responses: the node is off, or the namespace is gone."""

    node: str
    begin: float
    end: float

    def covers(self, request: RequestResult) -> bool:
        """Whether the request was open at a moment of this time."""
        return (
            self.node == request.node
            and request.sent <= self.end
            and self.begin <= request.sent + request.latency
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a fault.

    failed: requests with an error, or without a response. away: requests to a node that was off, or to a
    namespace that was deleted; counted nowhere else. late: responses after the SLO's latency. converged_s:
    seconds from the fault's end until all conditions and objects were as before; None if they never were.
    broken: a sentence for each invariant that did not hold.
    """

    fault: str
    commit: str
    requests: int
    failed: int
    away: int
    late: int
    converged_s: float | None
    broken: tuple[str, ...] = field(default=())

    @property
    def held(self) -> bool:
        return not self.broken

    def line(self) -> str:
        """Returns the run as one line of JSON."""
        return json.dumps(asdict(self))


def read(lines: Iterable[str]) -> list[Run]:
    """Parses the lines that `Run.line` wrote. Raises ValueError, with its number, for another line."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields: dict[str, Any] = json.loads(line)
            found.append(Run(**{**fields, "broken": tuple(fields["broken"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} is not a run of a fault: {error}: {line[:200]}") from error
    return found


def counted(requests: Sequence[RequestResult], away: Sequence[Away], slo: float) -> dict[str, int]:
    """Counts requests by `Run`'s fields. slo: latency in seconds."""
    absent = [any(each.covers(request) for each in away) for request in requests]
    present = [request for request, gone in zip(requests, absent, strict=True) if not gone]
    answered = [request for request in present if not request.failed]
    return {
        "requests": len(requests),
        "away": sum(absent),
        "failed": len(present) - len(answered),
        "late": sum(request.latency > slo for request in answered),
    }


def broken(
    errors: Sequence[str],
    before: Mapping[str, frozenset[str]],
    after: Mapping[str, frozenset[str]],
    converged: float | None,
    oversubscribed: Sequence[str],
) -> tuple[str, ...]:
    """Returns a sentence for each invariant that did not hold.

    errors: of requests that failed where a local route exists. before, after: names of objects and tails, by
    what they are. oversubscribed: capacities that a plan exceeded, as sentences.
    """
    found = []
    if errors:
        found.append(f"{len(errors)} requests failed where a local route exists: {errors[0]}")
    if converged is None or converged > SETTLED_SECONDS:
        took = "never" if converged is None else f"{converged:.0f} s"
        found.append(f"settled after {SETTLED_SECONDS:g} s at most: {took}")
    for kind in sorted(before.keys() | after.keys()):
        more = sorted(after.get(kind, frozenset()) - before.get(kind, frozenset()))
        fewer = sorted(before.get(kind, frozenset()) - after.get(kind, frozenset()))
        if more:
            found.append(f"{kind} that are left: {', '.join(more)}")
        if fewer:
            found.append(f"{kind} that are missing: {', '.join(fewer)}")
    return (*found, *oversubscribed)


def rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Returns a row for each fault, in the order of their first runs: sums over its runs.

    converged_s: the longest; None if a run never converged.
    """
    by_fault: dict[str, list[Run]] = {}
    for run in runs:
        by_fault.setdefault(run.fault, []).append(run)
    return [
        {
            "fault": name,
            "runs": len(found),
            "requests": sum(run.requests for run in found),
            "failed": sum(run.failed for run in found),
            "away": sum(run.away for run in found),
            "late": sum(run.late for run in found),
            "converged_s": _longest([run.converged_s for run in found]),
            "held": all(run.held for run in found),
            "broken": sorted({sentence for run in found for sentence in run.broken}),
        }
        for name, found in by_fault.items()
    ]


def missing(runs: Sequence[Run], commit: str, faults: Sequence[str], wanted: int) -> list[str]:
    """Returns the faults to run, each as often as its runs of this commit are fewer than `wanted`.

    All faults have their first run before any has its second.
    """
    had = {name: sum(run.fault == name and run.commit == commit for run in runs) for name in faults}
    return [name for number in range(wanted) for name in faults if had[name] <= number]


def _longest(times: Sequence[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return round(max(known), 1) if known and len(known) == len(times) else None
