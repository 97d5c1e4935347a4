"""What the demo found, as one JSON document: the schema that tools and tests read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.phases import CUT, Phase
from demo.statistics import LinkSample, RequestResult, median_bps, route_switches, summarise


@dataclass(frozen=True)
class PhaseResult:
    """One phase: `began` in seconds of the monotonic clock; `link` is what was measured once settled."""

    phase: Phase
    began: float
    results: Sequence[RequestResult]
    link: Sequence[LinkSample]


@dataclass(frozen=True)
class ModeResult:
    """One mode, all phases. `error` is the sentence that says why the mode could not run to its end."""

    mode: str
    phases: Sequence[PhaseResult]
    link: Sequence[LinkSample] = field(default=())
    error: str | None = None

    @property
    def results(self) -> list[RequestResult]:
        return [result for phase in self.phases for result in phase.results]


@dataclass(frozen=True)
class DemoResult:
    """The whole run. Times in seconds; `steps` holds those of each step of the setup."""

    modes: Sequence[ModeResult]
    slo_seconds: float
    setup_seconds: float
    demo_seconds: float
    steps: Mapping[str, float]

    def mode(self, name: str) -> ModeResult | None:
        return next((mode for mode in self.modes if mode.mode == name), None)


def document(result: DemoResult) -> dict[str, Any]:
    """report.json. Rates in bit/s, times in seconds, shares from 0 to 1; null where there is none."""
    auto = result.mode("Auto")
    return {
        "modes": {mode.mode: mode_document(mode, result.slo_seconds) for mode in result.modes},
        "switches": route_switches(auto.results) if auto else 0,
        "setup_s": round(result.setup_seconds, 1),
        "demo_s": round(result.demo_seconds, 1),
        "slo_s": result.slo_seconds,
        "steps_s": {step: round(seconds, 1) for step, seconds in result.steps.items()},
    }


def mode_document(mode: ModeResult, slo_seconds: float) -> dict[str, Any]:
    """A mode's entry, with its phases and, per entry node, the same numbers."""
    whole = summarise(mode.results, slo_seconds)
    found: dict[str, Any] = {
        "requests": whole.requests,
        "failed": whole.failed,
        "slo_attainment": rounded(whole.attainment),
        "accuracy": rounded(whole.accuracy),
        "p50_s": rounded(whole.p50),
        "p95_s": rounded(whole.p95),
        "phases": [phase_document(phase, slo_seconds) for phase in mode.phases],
    }
    return found if mode.error is None else {**found, "error": mode.error}


def phase_document(result: PhaseResult, slo_seconds: float) -> dict[str, Any]:
    """A phase's entry; `link_bps` 0 is a link that is cut, null one that was left as it is."""
    whole = summarise(result.results, slo_seconds)
    return {
        "link_bps": result.phase.link_bps,
        "measured_bps": rounded(median_bps(result.link), 0),
        "requests": whole.requests,
        "failed": whole.failed,
        "exit": whole.exit,
        "cut": whole.cut,
        "slo_attainment": rounded(whole.attainment),
        "accuracy": rounded(whole.accuracy),
        "p95_s": rounded(whole.p95),
        "nodes": {
            node: {"exit": part.exit, "cut": part.cut, "slo_attainment": rounded(part.attainment)}
            for node, part in by_node(result.results, slo_seconds)
        },
    }


def by_node(results: Iterable[RequestResult], slo_seconds: float) -> list[tuple[str, Any]]:
    """The summary of each node's requests, by the node's name."""
    found: dict[str, list[RequestResult]] = {}
    for result in results:
        found.setdefault(result.node, []).append(result)
    return [(node, summarise(found[node], slo_seconds)) for node in sorted(found)]


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A number as the report writes it; None stays None."""
    return None if value is None else round(value, digits)


def score(mode: Mapping[str, Any]) -> float:
    """Attainment times accuracy: the share of requests, about, that were answered rightly and in time."""
    return (mode["slo_attainment"] or 0.0) * (mode["accuracy"] or 0.0)


def complaints(report: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Why the demo is not a success, a sentence each: a mode that did not run, a request lost in Auto."""
    found = []
    for name in wanted:
        mode = report["modes"].get(name)
        if mode is None:
            found.append(f"{name} did not run")
        elif mode.get("error"):
            found.append(f"{name} did not run to its end: {mode['error']}")
        elif mode["requests"] == 0:
            found.append(f"{name} had no request to answer")
    auto = report["modes"].get("Auto")
    for phase in auto["phases"] if auto else []:
        if phase["failed"]:
            link = "cut" if phase["link_bps"] == CUT else f"at {phase['link_bps']} bit/s"
            found.append(f"Auto lost {phase['failed']} of {phase['requests']} requests with the link {link}")
    return found
