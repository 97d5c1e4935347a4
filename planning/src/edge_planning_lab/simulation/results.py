"""What a run was worth: per stream, per tenant, in all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_planning_lab.simulation.links import Floats
from edge_planning_lab.simulation.records import Outcome, Records, Run


@dataclass(frozen=True, slots=True)
class Summary:
    """Of some requests; open ones are counted in `requests` and in nothing else.

    attainment: share answered in time. accuracy: mean of those; 0 without any. utility: mean accuracy, late
    and lost ones counting 0. switches: how often the decided candidate changed from one request to the next.
    bytes: that crossed the link, without probes. joules: of the entry nodes. insured: answered in time by the
    insurance. p50, p95: seconds of all answers, NaN without any.
    """

    requests: int
    open: int
    attainment: float
    accuracy: float
    utility: float
    switches: int
    bytes: float
    joules: float
    insured: int
    p50: float
    p95: float


def summary(records: Records) -> Summary:
    """Of the records of any streams."""
    ended = records.outcome != Outcome.OPEN
    in_time = records.outcome == Outcome.IN_TIME
    count = int(ended.sum())
    kept = int(in_time.sum())
    total = float(records.utility.sum())
    seconds = records.latency[np.isfinite(records.latency)]
    p50, p95 = np.quantile(seconds, (0.5, 0.95)) if len(seconds) else (np.nan, np.nan)
    return Summary(
        requests=len(records.outcome),
        open=len(records.outcome) - count,
        attainment=kept / count if count else 0.0,
        accuracy=total / kept if kept else 0.0,
        utility=total / count if count else 0.0,
        switches=switches(records),
        bytes=float(records.bytes.sum()),
        joules=float(records.joules.sum()),
        insured=int((in_time & (records.by != records.choice)).sum()),
        p50=float(p50),
        p95=float(p95),
    )


def switches(records: Records) -> int:
    """Changes of the decided candidate between two requests of a stream; undecided ones are passed over."""
    decided = records.choice >= 0
    stream, choice = records.stream[decided], records.choice[decided]
    return int(((stream[1:] == stream[:-1]) & (choice[1:] != choice[:-1])).sum())


def by_service(run: Run) -> dict[str, Summary]:
    """`service@node` of each stream."""
    return {
        f"{stream.service}@{stream.node}": summary(run.records.of(index))
        for index, stream in enumerate(run.scenario.streams)
    }


@dataclass(frozen=True, slots=True)
class Fairness:
    """levels: of each tenant, its mean utility a request over its weight.

    jain: Jain's index of the levels, (sum x)^2 / (n sum x^2) (Jain, Chiu, Hawe 1984): 1 when all are equal,
    1 / n when one has all. least: the lowest level.
    """

    levels: Mapping[str, float]
    jain: float
    least: float


def fairness(run: Run) -> Fairness:
    """Over the scenario's tenants; weights are scaled to a mean of 1."""
    scenario, records = run.scenario, run.records
    tenant = np.array([stream.tenant for stream in scenario.streams])
    names = sorted(set(tenant.tolist()))
    weights = np.array([scenario.weights.get(name, 1.0) for name in names])
    weights = weights / weights.mean()
    ended = records.outcome != Outcome.OPEN
    levels = []
    for name, weight in zip(names, weights, strict=True):
        own = ended & (tenant[records.stream] == name)
        levels.append(float(records.utility[own].mean() / weight) if own.any() else 0.0)
    return Fairness(dict(zip(names, levels, strict=True)), jain(np.array(levels)), min(levels))


def jain(levels: Floats) -> float:
    """Jain's index of non-negative numbers; 1 where all are 0."""
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
    "insured",
    "p50 ms",
    "p95 ms",
)


def table(rows: Mapping[str, Summary], title: str = "policy") -> str:
    """Rows as text, the columns aligned; accuracy and utility as shares, bytes in MB, latencies in ms."""
    lines: list[Sequence[str]] = [(title, *COLUMNS)]
    for name, row in rows.items():
        milliseconds = [f"{1e3 * value:.1f}" if np.isfinite(value) else "-" for value in (row.p50, row.p95)]
        shares = [f"{value:.4f}" for value in (row.attainment, row.accuracy, row.utility)]
        amounts = [str(row.switches), f"{row.bytes / 1e6:.3f}", f"{row.joules:.2f}", str(row.insured)]
        lines.append((name, str(row.requests), *shares, *amounts, *milliseconds))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if i == 0 else word.rjust(width)
            for i, (word, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def tenants(found: Fairness) -> str:
    """The levels as text, the lowest first, and Jain's index below."""
    width = max(len(name) for name in (*found.levels, "Jain's index"))
    ranked = sorted(found.levels.items(), key=lambda item: item[1])
    return "\n".join(
        f"{name:{width}}  {level:.4f}" for name, level in (*ranked, ("Jain's index", found.jain))
    )
