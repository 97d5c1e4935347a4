"""The benchmark under load: its capacity, its references with queues, and what it prints."""

import json
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_slo
from benchmarks.slo import jobs, loaded
from benchmarks.slo.cases import case
from benchmarks.slo.figures import Figures, best_static, run
from edge_planning_lab.baselines import Fixed
from edge_planning_lab.simulation import Bandwidth, poisson

from .conftest import make_options

POLICIES = (
    *("ours", "ours_wait", "ours_unstated", "edgent_static", "edgent_dynamic"),
    *("edgent_dynamic_accuracy", "best_static", "oracle", "oracle_queued"),
)


def cell(requests: float, others: float, **in_time: float) -> dict[str, Figures]:
    """Each response in time has the accuracy 0.5."""
    kept = {name: in_time.get(name, others) for name in POLICIES}
    return {
        name: {"requests": requests, "in_time": count, "utility": count / 2} for name, count in kept.items()
    }


def test_the_capacity_is_that_of_the_exit_which_takes_the_node_the_least_time() -> None:
    assert loaded.capacity(make_options()) == pytest.approx(1 / 0.2)
    slower = make_options()
    assert loaded.capacity(replace(slower, head=2 * slower.head)) == pytest.approx(1 / 0.4)


def test_the_capacity_does_not_depend_on_the_deadline() -> None:
    assert loaded.capacity(case(0.1).options) == loaded.capacity(case(1.0).options)


def test_a_table_for_a_rate_has_no_local_route_that_cannot_keep_up() -> None:
    options = case(0.5).options
    rate = 0.6 * loaded.capacity(options)

    def load(rate: float, planned: float) -> float:
        at_home = [options.find(r.name) for r in case(0.5, rate=planned).table.routes]
        return max(rate * float(options.head[i]) for i in at_home if options.bits[i] == 0)

    assert load(rate, 0.0) > 1
    assert load(rate, rate) == pytest.approx(0.6)


def test_the_best_static_split_is_the_best_with_queues() -> None:
    options = make_options(deadline=1.0)
    arrivals = poisson(np.random.default_rng(2), 2.0, 60.0)
    link = Bandwidth.constant(1e4)
    found = best_static(options, link, arrivals, 60.0)
    each = [run(Fixed("fixed", i), options, link, arrivals, 60.0)["utility"] for i in range(len(options))]
    assert found["utility"] == max(each)
    assert each.index(max(each)) == options.find("small@local")  # alone, full@local would be in time, too


def test_at_each_load_ours_is_compared_with_each_reference() -> None:
    low = cell(10, 8, ours=9, oracle=10)
    high = cell(20, 5, ours=10, oracle=20, oracle_queued=15, ours_unstated=4)
    results = {name: {0.3: {0.2: low}, 0.6: {0.2: low}, 0.9: {0.2: high}} for name in ("a", "b")}
    found = loaded.verdict(results, "here")
    assert (found["traces"], found["source"], list(found["loads"])) == (2, "here", ["0.3", "0.6", "0.9"])
    assert found["capacity_per_second"] == pytest.approx(loaded.capacity(case(0.1).options), abs=1e-3)
    last = found["loads"]["0.9"]
    assert last["requests_per_second"] == pytest.approx(0.9 * found["capacity_per_second"], abs=1e-3)
    assert last["utility_vs_oracle"] == pytest.approx(0.5)
    assert last["utility_vs_oracle_queued"] == pytest.approx(10 / 15, abs=1e-4)
    assert last["utility_vs_best_static"] == pytest.approx(2)
    assert last["unstated_utility_vs_best_static"] == pytest.approx(0.8)
    assert last["misses_vs_best_static"] == pytest.approx(10 / 15, abs=1e-4)
    assert last["misses_vs_edgent_static"] == pytest.approx(10 / 15, abs=1e-4)
    assert last["avoidable_misses_vs_edgent_static"] == pytest.approx(5 / 10)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_short_run_under_load_prints_one_object_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    out, arguments = tmp_path / "out" / "slo.json", ["--load", "--quick"]
    if recorded:
        traces = tmp_path / "traces"
        traces.mkdir()
        (traces / "steady").write_text("".join(f"{t} 3.0\n" for t in range(30)))
        arguments += ["--traces", str(traces)]
    monkeypatch.setattr(jobs, "QUICK_SLOS", (0.2,))
    monkeypatch.setattr(loaded, "SECONDS", 4.0)
    monkeypatch.setattr(loaded, "PRICES", (0.0,))
    monkeypatch.setattr(bench_slo, "pool_of", ThreadPool)
    assert bench_slo.main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert (found["load"], found["quick"], found["traces"]) == (True, True, 1 if recorded else 6)
    assert set(found["loads"]["0.6"]["policies"]) == set(POLICIES)
    assert set(found["notes"]) >= {"capacity_per_second", "oracle", "oracle_queued"}
    assert "90% of the entry node's capacity" in printed.err
    detail = json.loads(out.read_text())["traces"]
    assert all(set(trace) == {"0.3", "0.6", "0.9"} for trace in detail.values())
    for trace in detail.values():
        for load in trace.values():
            bound = load["200"]["oracle"]["utility"]
            assert all(figures["utility"] <= bound + 1e-6 for figures in load["200"].values())


@pytest.mark.parametrize("other", [["--every", "1"], ["--arrivals", "poisson"], ["--plots", "plots"]])
def test_the_load_sets_the_arrivals_itself(other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_slo.main(["--load", *other])
    assert other[0] in capsys.readouterr().err
