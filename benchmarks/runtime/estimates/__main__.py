"""Measures the runtime's bandwidth estimate: its forecasts, and the routes chosen by it.

    python -m benchmarks.runtime.estimates --traces DIR

Replays bandwidth traces twice with the runtime's pure functions, without sockets or clocks.

forecasts: transfers of random size (4 to 256 kB, log-uniform) start at random times (exponential gaps). Each
is measured as on a throttled node: two in three are delayed by up to 5 ms, unknown to the estimate; in half
of the settings also with a relative error of 10 % (log-normal), since traces keep each rate for 1 or 5 s and
the last value is therefore exact more often than on a real link. The true rate is forecast. `error` is the
mean absolute difference of natural logarithms, `pinball` the loss of the low quantile, `below` the share of
transfers that were slower than it.

decisions: described in `decisions.py`. `late` and the other figures are means over all requests.

All traces have equal weight. Prints one JSON object as its last line. The constants were tuned on every
second trace by name (the even ones); --half odd, the default, measures on the others.
"""

import json
import math
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.runtime.commands import described, say
from benchmarks.runtime.estimates import decisions
from benchmarks.runtime.estimates.forecasters import FORECASTERS, PlannerForecaster
from benchmarks.runtime.estimates.streams import MeasuredTransfer, transfers
from edge_planning.links import estimates
from edge_planning.links.estimates import LOW, Estimate, LinkView, RateSample
from edge_planning.routing.routes import RouteRequest, RouteRequirement, RouteState, chance, decide
from edge_planning_lab.simulation.links import Bandwidth
from edge_planning_lab.simulation.traces import LognormalProcess, read_trace

GAPS = (0.1, 0.5, 2.0, 10.0)  # mean seconds between two transfers
ERRORS = (0.0, 0.1)
SYNTHETIC = 20
LEAST = 20  # transfers; with fewer a trace is left out
MOST = 150
LOWEST = 1e3  # bit/s; logarithms of less are not compared


def foretold(name: str, many: Sequence[MeasuredTransfer]) -> tuple[float, float, float]:
    """(error, pinball, below) of one forecaster on one trace."""
    forecaster, found = FORECASTERS[name](), []
    for number, transfer in enumerate(many):
        if number:
            if isinstance(forecaster, PlannerForecaster):
                level, low = forecaster.both(transfer.start)
            else:
                level, low = forecaster.level(transfer.start), forecaster.low(transfer.start)
            value = math.log(max(transfer.rate, LOWEST))
            short = value - math.log(max(low, LOWEST))
            loss = short * LOW if short >= 0 else -short * (1 - LOW)
            found.append((abs(math.log(max(level, LOWEST)) - value), loss, short < 0))
        forecaster.add(transfer.sample)
    error, pinball, below = np.mean(np.array(found, dtype=np.float64), axis=0)
    return float(error), float(pinball), float(below)


def forecasts(links: Sequence[tuple[str, Bandwidth]], gap: float, error: float) -> dict[str, object]:
    """Measures one gap and one measurement error over all traces."""
    rows = []
    for name, link in links:
        rng = np.random.default_rng(zlib.crc32(f"{name} {gap} {error}".encode()))
        many = list(transfers(link, rng, gap, error, MOST))
        if len(many) >= LEAST:
            rows.append([foretold(method, many) for method in FORECASTERS])
    table = np.array(rows)
    means = table.mean(axis=0)
    errors = {m: table[:, i, 0] for i, m in enumerate(FORECASTERS)}
    return {
        "gap_s": gap,
        "error": error,
        "traces": len(rows),
        "log_error": {m: round(float(means[i, 0]), 4) for i, m in enumerate(FORECASTERS)},
        "pinball": {m: round(float(means[i, 1]), 4) for i, m in enumerate(FORECASTERS)},
        "below": {m: round(float(means[i, 2]), 3) for i, m in enumerate(FORECASTERS)},
        "runtime_vs_last": round(float(errors["runtime"].mean() / errors["last"].mean()), 4),
        "beats_last_on": round(float(np.mean(errors["runtime"] < errors["last"])), 3),
    }


def routes(links: Sequence[tuple[str, Bandwidth]], error: float) -> dict[str, object]:
    """Returns the results of decisions by each forecaster's level and low quantile."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for method, make in FORECASTERS.items():
        found[method] = {}
        for low in (False, True):
            runs = [
                decisions.run(link, zlib.crc32(name.encode()), error, make(), low=low) for name, link in links
            ]
            means = {f: np.mean([getattr(r, f) for r in runs]) for f in decisions.DecisionScore.__slots__}
            found[method]["low" if low else "level"] = {f: round(float(v), 4) for f, v in means.items()}
    best = float(np.mean([decisions.clairvoyant(link) for _, link in links]))
    return {"error": error, "traces": len(links), "clairvoyant": round(best, 4), "by": found}


def sample_cost() -> float:
    """Microseconds of one sample."""
    rng = np.random.default_rng(0)
    samples = [
        RateSample(0.1 * i, r, 1.1 * r) for i, r in enumerate(np.exp(rng.normal(14, 0.3, 5000)).tolist())
    ]
    estimate, began = Estimate(), time.perf_counter()
    for sample in samples:
        estimate = estimates.add(estimate, sample)
    return (time.perf_counter() - began) / len(samples) * 1e6


def decision_cost() -> float:
    """Microseconds of one decision over four remote routes and a local one, each remote with a fallback."""
    surprises = np.sort(np.random.default_rng(0).normal(0, 0.3, 30)).tolist()
    views = [LinkView(up=True, bandwidth=1e6 * (1 + i % 10), surprises=surprises) for i in range(5000)]
    requirements = [
        RouteRequirement(need, need > 0, accuracy, decisions.BUDGET, 0.01, 0.01, need * 0.15)
        for need, accuracy in decisions.TABLE
    ]
    fallbacks = [(decisions.LOCAL, 0.02) if c.remote else None for c in requirements]
    request, state, began = (
        RouteRequest(decisions.BUDGET, fallbacks=fallbacks),
        RouteState(),
        time.perf_counter(),
    )
    for number, view in enumerate(views):
        index, state = decide(requirements, view, state, number * 0.3, request=request)
        chance(requirements[index], index, view, request)
    return (time.perf_counter() - began) / len(views) * 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Measures all gaps and measurement errors."""
    parser = described("estimates", __doc__)
    parser.add_argument("--traces", type=Path, help="a folder of files with lines `seconds Mbit/s`")
    parser.add_argument(
        "--half", choices=("odd", "even", "both"), default="odd", help="traces by index in the list"
    )
    arguments = parser.parse_args(argv)
    if arguments.traces is None:
        process = LognormalProcess()
        links = [(f"seed {n}", process.sample(np.random.default_rng(n), 600.0)) for n in range(SYNTHETIC)]
        source = "synthetic: Markov-modulated lognormal AR(1); seeds from 0"
    else:
        paths = sorted(path for path in arguments.traces.iterdir() if path.is_file())
        paths = {"odd": paths[1::2], "even": paths[::2], "both": paths}[arguments.half]
        links = [(path.name, read_trace(path.read_text())) for path in paths]
        source = f"{arguments.traces}, {arguments.half} files"
    links = links[:: max(len(links) // 6, 1)] if arguments.quick else links
    answer: dict[str, object] = {"source": source, "quick": arguments.quick, "low_quantile": LOW}
    found = []
    for error in ERRORS:
        for gap in GAPS:
            found.append(forecasts(links, gap, error))
            say(json.dumps(found[-1]))
    answer["forecasts"] = found
    answer["decisions"] = [routes(links, error) for error in ERRORS]
    answer["us_a_sample"] = round(sample_cost(), 1)
    answer["us_a_decision"] = round(decision_cost(), 1)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
