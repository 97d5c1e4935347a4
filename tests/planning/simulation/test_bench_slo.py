"""The benchmark's summary: shares over all requests, ratios of misses, the worst trace."""

import json
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_slo
from benchmarks.slo import jobs, spaced
from benchmarks.slo.figures import Figures, best_static, run
from edge_planning_lab.baselines import Fixed
from edge_planning_lab.simulation import Bandwidth, poisson

from .conftest import make_options

NAMES = (
    *("ours", "oracle", "edgent_static", "edgent_dynamic", "neurosurgeon"),
    *("dads", "best_static", "right_sizing_only", "local_only", "cloud_only"),
)


def cell(requests: float, **kept: float) -> dict[str, Figures]:
    """All others meet the SLO for `others` requests; each response has the accuracy 0.5."""
    found = {}
    for name in (*NAMES, "edgent_dynamic_accuracy", "ours_int8"):
        in_time = kept.get(name, kept["others"])
        figures = {"requests": requests, "in_time": in_time, "utility": in_time / 2, "switches": 1.0}
        found[name] = {**figures, "bytes": 100.0, "joules": 1.0, "fallbacks": 0.0}
    return found


def test_misses_are_compared_over_all_requests_and_the_worst_trace_is_named() -> None:
    results = {
        "a": {0.1: cell(10, others=6, ours=9, oracle=10), 0.2: cell(10, others=6, ours=9, oracle=10)},
        "b": {0.1: cell(20, others=18, ours=17, oracle=20)},
    }
    found = spaced.verdict(results, "here")
    assert (found["traces"], found["source"], found["requests"]) == (2, "here", 40)
    assert set(NAMES) <= set(found["policies"])
    ours = found["policies"]["ours"]
    assert [ours[key] for key in ("attainment", "accuracy", "utility", "switches")] == pytest.approx(
        [35 / 40, 0.5, 35 / 80, 3]
    )
    assert found["misses_vs_edgent_static"] == pytest.approx(5 / 10)
    assert found["utility_vs_oracle"] == pytest.approx(35 / 40)
    assert (found["worst_trace"], found["worst_trace_vs_best_static"]) == ("b", round(17 / 18, 4))
    assert found["by_slo_ms"]["200"]["ours"] == pytest.approx([0.9, 0.45])


def test_the_best_static_split_is_the_best_with_queues() -> None:
    options = make_options(deadline=1.0)
    arrivals = poisson(np.random.default_rng(2), 2.0, 60.0)
    link = Bandwidth.constant(1e4)
    found = best_static(options, link, arrivals, 60.0)
    each = [run(Fixed("fixed", i), options, link, arrivals, 60.0)["utility"] for i in range(len(options))]
    assert found["utility"] == max(each)
    assert each.index(max(each)) == options.find("small@local")  # alone, full@local would be in time, too


def test_a_short_run_prints_one_object_last_and_leaves_the_figures_of_each_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, out = tmp_path / "traces", tmp_path / "out" / "slo.json"
    traces.mkdir()
    (traces / "steady").write_text("".join(f"{t} 3.0\n" for t in range(30)))
    (traces / "slow").write_text("".join(f"{t} 0.3\n" for t in range(30)))
    monkeypatch.setattr(jobs, "QUICK_SLOS", (0.2,))
    monkeypatch.setattr(bench_slo, "pool_of", ThreadPool)
    arguments = ["--traces", str(traces), "--out", str(out), "--quick"]
    assert bench_slo.main(arguments) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert (found["traces"], found["source"]) == (2, str(traces))
    assert "2/2 traces" in printed.err
    detail = json.loads(out.read_text())["traces"]
    assert detail["slow"]["200"]["cloud_only"]["attainment"] == 0.0
    assert detail["slow"]["200"]["ours"]["attainment"] == 1.0
    assert detail["steady"]["200"]["cloud_only"]["utility"] == pytest.approx(0.78)
    assert detail["steady"]["200"]["oracle"]["utility"] == pytest.approx(0.78)
