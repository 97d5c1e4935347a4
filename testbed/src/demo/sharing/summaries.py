"""The second act in report.json, and what it showed in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from demo.formatting import milliseconds, share
from demo.sharing.phases import FACTOR
from demo.sharing.results import PhaseLoad, SharingResult, TenantSummary, Terms, summary
from demo.statistics import RequestResult, quantile, rounded

COLUMNS = (
    "phase",
    "tenant",
    "sent/s",
    "full model",
    "cheaper exit",
    "refused",
    "lost",
    "p50",
    "p95",
    "SLO met",
    "accuracy",
)
BIN_SECONDS = 2


def document(result: SharingResult) -> dict[str, Any]:
    """Returns the entry `tenants` of report.json. Times in seconds, shares from 0 to 1; null if undefined.

    `series` has the requests of each tenant by the span of BIN_SECONDS in which they were sent; the first one
    begins with the first phase.
    """
    terms = result.terms
    began = result.phases[0].began if result.phases else 0.0
    found: dict[str, Any] = {
        "quiet": terms.quiet,
        "noisy": terms.noisy,
        "factor": FACTOR,
        "nodes": list(terms.nodes),
        "slo_s": terms.slo,
        "declared_rate": terms.rate,
        "exits": list(terms.exits),
        "phases": [
            phase_document(phase, terms, phase.began - began, seconds)
            for phase, seconds in zip(result.phases, durations(result), strict=True)
        ],
        "series": {name: series(result.results(name), terms, began) for name in terms.tenants},
        "kubectl_get_tenants": result.listed,
    }
    return found if result.error is None else {**found, "error": result.error}


def durations(result: SharingResult) -> list[float]:
    """Returns the seconds for which each phase lasted, so far if it still does."""
    starts = [phase.began for phase in result.phases]
    sent = [each.sent for name in result.terms.tenants for each in result.results(name)]
    ends = [*starts[1:], *([max([starts[-1], *sent])] if starts else [])]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def phase_document(phase: PhaseLoad, terms: Terms, began: float, seconds: float) -> dict[str, Any]:
    """Returns a phase's entry with that of each tenant. `began`: seconds after the first phase did."""
    summaries = {name: summary(phase.results[name], terms) for name in terms.tenants}
    return {
        "name": phase.phase.name,
        "factor": phase.phase.factor,
        "began_s": round(began, 2),
        "seconds": round(seconds, 2),
        "tenants": {name: tenant_document(found) for name, found in summaries.items()},
    }


def tenant_document(found: TenantSummary) -> dict[str, Any]:
    """Returns the entry of a tenant in a phase."""
    names = {"attainment": "slo_attainment", "p50": "p50_s", "p95": "p95_s"}
    return {
        names.get(name, name): rounded(value) if isinstance(value, float) else value
        for name, value in asdict(found).items()
    }


def series(results: Sequence[RequestResult], terms: Terms, began: float) -> dict[str, list[Any]]:
    """Returns for each span the number of requests by outcome, and the latencies."""
    bins: list[list[RequestResult]] = []
    for result in results:
        number = max(0, int((result.sent - began) / BIN_SECONDS))
        bins.extend([] for _ in range(number + 1 - len(bins)))
        bins[number].append(result)
    found: dict[str, list[Any]] = {
        name: [] for name in ("full", "cheaper", "refused", "lost", "median_s", "slowest_s")
    }
    for each in bins:
        counted = summary(each, terms)
        for name in ("full", "cheaper", "refused", "lost"):
            found[name].append(getattr(counted, name))
        found["median_s"].append(rounded(counted.p50))
        found["slowest_s"].append(rounded(quantile([one.latency for one in each if not one.failed], 1.0)))
    return found


def rows(result: SharingResult) -> list[tuple[str, ...]]:
    """Returns one row for each phase that began and tenant, with the columns of COLUMNS."""
    found: list[tuple[str, ...]] = []
    for phase, seconds in zip(result.phases, durations(result), strict=True):
        for name in result.terms.tenants:
            of = summary(phase.results[name], result.terms)
            found.append(
                (
                    phase.phase.name,
                    name,
                    f"{of.requests / seconds:.1f}" if seconds > 0 else "-",
                    str(of.full),
                    str(of.cheaper),
                    str(of.refused),
                    str(of.lost),
                    milliseconds(of.p50),
                    milliseconds(of.p95),
                    share(of.attainment),
                    share(of.accuracy),
                )
            )
    return found


def sentences(report: Mapping[str, Any]) -> list[str]:
    """Returns what the second act showed, from its entry in the report; empty if it did not complete."""
    if report.get("error") or len(report["phases"]) < 2:
        return []
    quiet, noisy = report["quiet"], report["noisy"]
    slo = milliseconds(report["slo_s"])
    before, during, *after = (phase["tenants"] for phase in report["phases"])
    met = ", ".join(
        f"{share(phase[quiet]['slo_attainment'])} {when}"
        for when, phase in zip(
            ("before", f"while {noisy} sent {report['factor']} times its declared rate", "after"),
            (before, during, *after),
            strict=False,
        )
    )
    got = during[noisy]
    parts = ", ".join(
        f"{share(got[name] / got['requests'] if got['requests'] else None)} {what}"
        for name, what in (
            ("full", "by the full model"),
            ("cheaper", "by a cheaper exit"),
            ("refused", "refused (Overloaded)"),
            ("lost", "without a response"),
        )
        if got[name] or name != "lost"
    )
    got_then = (
        f"{noisy} sent {got['requests']} requests in that time: {parts}; {share(got['slo_attainment'])} "
        f"within the SLO, accuracy of the responses {share(got['accuracy'])}"
    )
    return [f"{quiet} sent its declared rate throughout; within {slo} were: {met}", got_then]


def complaints(report: Mapping[str, Any] | None) -> list[str]:
    """Returns why the second act failed: it did not complete, or requests within the declared rate were lost.

    A request that missed the SLO is a result, not a failure of the demo.
    """
    if report is None:
        return ["the tenants did not run"]
    if report.get("error"):
        return [f"the tenants did not complete: {report['error']}"]
    found = []
    for phase in report["phases"]:
        for name, of in phase["tenants"].items():
            if of["requests"] == 0:
                found.append(f"{name} received no requests in the phase {phase['name']}")
            if of["lost"] and (name == report["quiet"] or phase["factor"] <= 1):
                found.append(
                    f"{name} lost {of['lost']} of {of['requests']} requests in the phase {phase['name']}"
                )
    return found
