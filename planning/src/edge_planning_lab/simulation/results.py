"""Summaries of a run: per stream, per tenant, and in total."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning.text_tables import text_table
from edge_planning_lab.simulation.links import Floats
from edge_planning_lab.simulation.records import RequestOutcome, RequestRecords, SimulationRun


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Summary of some requests; open requests count only in `requests`.

    Attributes:
        attainment: Share of responses in time.
        accuracy: Mean accuracy of these; 0 if there are none.
        utility: Mean accuracy, where late and lost requests count 0.
        switches: Number of changes of the chosen candidate between consecutive requests.
        bytes: Bytes that crossed the link, without probes.
        joules: Of the entry nodes.
        fallbacks: Responses in time by the fallback.
        p50, p95: Latency of all responses in seconds; NaN if there are none.
    """

    requests: int
    open: int
    attainment: float
    accuracy: float
    utility: float
    switches: int
    bytes: float
    joules: float
    fallbacks: int
    p50: float
    p95: float


def summary(records: RequestRecords) -> RunSummary:
    """Returns the summary of the records of any streams."""
    ended = records.outcome != RequestOutcome.OPEN
    in_time = records.outcome == RequestOutcome.IN_TIME
    count = int(ended.sum())
    kept = int(in_time.sum())
    total = float(records.utility.sum())
    seconds = records.latency[np.isfinite(records.latency)]
    p50, p95 = np.quantile(seconds, (0.5, 0.95)) if len(seconds) else (np.nan, np.nan)
    return RunSummary(
        requests=len(records.outcome),
        open=len(records.outcome) - count,
        attainment=kept / count if count else 0.0,
        accuracy=total / kept if kept else 0.0,
        utility=total / count if count else 0.0,
        switches=switches(records),
        bytes=float(records.bytes.sum()),
        joules=float(records.joules.sum()),
        fallbacks=int((in_time & (records.by != records.choice)).sum()),
        p50=float(p50),
        p95=float(p95),
    )


def switches(records: RequestRecords) -> int:
    """Returns the changes of the chosen candidate between requests of a stream; skips undecided requests."""
    decided = records.choice >= 0
    stream, choice = records.stream[decided], records.choice[decided]
    return int(((stream[1:] == stream[:-1]) & (choice[1:] != choice[:-1])).sum())


def by_service(run: SimulationRun) -> dict[str, RunSummary]:
    """Returns the summaries by `service@node`."""
    return {
        f"{stream.service}@{stream.node}": summary(run.records.of(index))
        for index, stream in enumerate(run.scenario.streams)
    }


@dataclass(frozen=True, slots=True)
class Fairness:
    """Fairness over tenants.

    Attributes:
        levels: Mean utility per request divided by the weight, by tenant.
        jain: Jain's index of the levels, (sum x)^2 / (n sum x^2) (Jain, Chiu, Hawe 1984): 1 if all are equal,
            1 / n if one tenant has everything.
        least: The lowest level.
    """

    levels: Mapping[str, float]
    jain: float
    least: float


def fairness(run: SimulationRun) -> Fairness:
    """Returns the fairness over the scenario's tenants; weights are scaled to a mean of 1."""
    scenario, records = run.scenario, run.records
    tenant = np.array([stream.tenant for stream in scenario.streams])
    names = sorted(set(tenant.tolist()))
    weights = np.array([scenario.weights.get(name, 1.0) for name in names])
    weights = weights / weights.mean()
    ended = records.outcome != RequestOutcome.OPEN
    levels = []
    for name, weight in zip(names, weights, strict=True):
        own = ended & (tenant[records.stream] == name)
        levels.append(float(records.utility[own].mean() / weight) if own.any() else 0.0)
    return Fairness(dict(zip(names, levels, strict=True)), jain(np.array(levels)), min(levels))


def jain(levels: Floats) -> float:
    """Returns Jain's index of non-negative numbers; 1 if all are 0."""
    square = float(np.sum(levels**2))
    return float(np.sum(levels)) ** 2 / (len(levels) * square) if square > 0 else 1.0


COLUMNS = (
    "requests",
    "attainment",
    "accuracy",
    "utility",
    "switches",
    "MB",
    "J",
    "fallbacks",
    "p50 ms",
    "p95 ms",
)


def table(rows: Mapping[str, RunSummary], title: str = "policy") -> str:
    """Returns rows as aligned text; accuracy and utility as shares, bytes in MB, latencies in ms."""
    lines: list[Sequence[str]] = [(title, *COLUMNS)]
    for name, row in rows.items():
        milliseconds = [f"{1e3 * value:.1f}" if np.isfinite(value) else "-" for value in (row.p50, row.p95)]
        shares = [f"{value:.4f}" for value in (row.attainment, row.accuracy, row.utility)]
        amounts = [str(row.switches), f"{row.bytes / 1e6:.3f}", f"{row.joules:.2f}", str(row.fallbacks)]
        lines.append((name, str(row.requests), *shares, *amounts, *milliseconds))
    return text_table(lines, right=range(1, len(lines[0])))


def tenants(found: Fairness) -> str:
    """Returns the levels as text, the lowest first, and Jain's index below."""
    ranked = sorted(found.levels.items(), key=lambda item: item[1])
    return text_table([(name, f"{level:.4f}") for name, level in (*ranked, ("Jain's index", found.jain))])
