"""The results of the demo as one JSON document, with the schema that tools and tests read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.phases import CUT, Phase
from demo.sharing import summaries
from demo.sharing.results import SharingResult
from demo.statistics import LinkSample, RequestResult, median_bps, rounded, route_switches, summarise


@dataclass(frozen=True)
class PhaseResult:
    """One phase: `began` in seconds of the monotonic clock; `link` is what was measured once settled."""

    phase: Phase
    began: float
    results: Sequence[RequestResult]
    link: Sequence[LinkSample]


@dataclass(frozen=True)
class ModeResult:
    """One mode with all phases. `error`: why the mode did not complete."""

    mode: str
    phases: Sequence[PhaseResult]
    link: Sequence[LinkSample] = field(default=())
    error: str | None = None

    @property
    def results(self) -> list[RequestResult]:
        return [result for phase in self.phases for result in phase.results]


@dataclass(frozen=True)
class DemoResult:
    """The whole run. Times in seconds; `steps` holds those of each step of the setup. `tenants`: the second
    act, None if it was left out. console: a picture of the console, as PNG; empty if none was taken.
    """

    modes: Sequence[ModeResult]
    slo_seconds: float
    setup_seconds: float
    demo_seconds: float
    steps: Mapping[str, float]
    tenants: SharingResult | None = None
    console: bytes = b""

    def mode(self, name: str) -> ModeResult | None:
        return next((mode for mode in self.modes if mode.mode == name), None)


def document(result: DemoResult) -> dict[str, Any]:
    """Returns report.json. Rates in bit/s, times in seconds, shares from 0 to 1; null for missing values."""
    auto = result.mode("Auto")
    return {
        "modes": {mode.mode: mode_document(mode, result.slo_seconds) for mode in result.modes},
        "tenants": None if result.tenants is None else summaries.document(result.tenants),
        "switches": route_switches(auto.results) if auto else 0,
        "setup_s": round(result.setup_seconds, 1),
        "demo_s": round(result.demo_seconds, 1),
        "slo_s": result.slo_seconds,
        "steps_s": {step: round(seconds, 1) for step, seconds in result.steps.items()},
    }


def mode_document(mode: ModeResult, slo_seconds: float) -> dict[str, Any]:
    """Returns a mode's entry, with its phases and the same numbers for each entry node."""
    whole = summarise(mode.results, slo_seconds)
    found: dict[str, Any] = {
        "requests": whole.requests,
        "failed": whole.failed,
        "refused": whole.refused,
        "slo_attainment": rounded(whole.attainment),
        "accuracy": rounded(whole.accuracy),
        "p50_s": rounded(whole.p50),
        "p95_s": rounded(whole.p95),
        "phases": [phase_document(phase, slo_seconds) for phase in mode.phases],
    }
    return found if mode.error is None else {**found, "error": mode.error}


def phase_document(result: PhaseResult, slo_seconds: float) -> dict[str, Any]:
    """Returns a phase's entry; `link_bps` is 0 if the link is cut, null if it is not shaped."""
    whole = summarise(result.results, slo_seconds)
    return {
        "link_bps": result.phase.link_bps,
        "measured_bps": rounded(median_bps(result.link), 0),
        "requests": whole.requests,
        "failed": whole.failed,
        "refused": whole.refused,
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
    """Returns the summary of each node's requests, by node."""
    found: dict[str, list[RequestResult]] = {}
    for result in results:
        found.setdefault(result.node, []).append(result)
    return [(node, summarise(found[node], slo_seconds)) for node in sorted(found)]


def score(mode: Mapping[str, Any]) -> float:
    """Returns attainment times accuracy: about the share of requests with a correct response in time."""
    return (mode["slo_attainment"] or 0.0) * (mode["accuracy"] or 0.0)


def complaints(report: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Yields why the demo failed: modes that did not run, requests lost in Auto."""
    found = []
    for name in wanted:
        mode = report["modes"].get(name)
        if mode is None:
            found.append(f"{name} did not run")
        elif mode.get("error"):
            found.append(f"{name} did not complete: {mode['error']}")
        elif mode["requests"] == 0:
            found.append(f"{name} received no requests")
    auto = report["modes"].get("Auto")
    for phase in auto["phases"] if auto else []:
        lost = phase["failed"] - phase["refused"]
        if lost:
            link = "cut" if phase["link_bps"] == CUT else f"at {phase['link_bps']} bit/s"
            found.append(f"Auto lost {lost} of {phase['requests']} requests with the link {link}")
    return found
