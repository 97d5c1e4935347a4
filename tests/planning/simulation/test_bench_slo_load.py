"""The benchmark under load: its capacity, its tables, the gap of its oracle, and what it prints."""

import json
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_slo
from benchmarks.slo import jobs, loaded
from benchmarks.slo.figures import Figures
from benchmarks.slo.shared import SERVICES, planned, shared_case
from edge_planning_lab.schedules import known_requests
from edge_planning_lab.simulation import Bandwidth


def cell(requests: float, ours: float, oracle: float, gap: float | None = None) -> Figures:
    return {
        "requests": requests,
        "utility": ours,
        "in_time": ours,
        "refused": 1.0,
        "fallbacks": 2.0,
        "oracle": oracle,
        "bound": requests,
        "instances": float(gap is not None),
        "gap": gap or 0.0,
    }


def test_the_capacity_is_that_of_the_cheapest_exit_of_each_service() -> None:
    found = shared_case()
    seconds = [min(float(one.head[i]) for i in one.local) for one in found.options]
    assert found.capacity == pytest.approx(3 / sum(seconds))
    slower = replace(found, options=tuple(replace(one, head=2 * one.head) for one in found.options))
    assert slower.capacity == pytest.approx(found.capacity / 2)


@pytest.mark.parametrize("share", loaded.SHARES)
def test_the_plan_serves_all_services_and_each_has_a_local_route_in_time(share: float) -> None:
    tables = planned(share * shared_case().capacity / len(SERVICES), 1e6)
    for service, table in zip(SERVICES, tables, strict=True):
        assert table.routes[-1].cut is None
        assert (table.routes[-1].head or 0.0) <= service.slo


def test_the_gap_is_that_of_the_requests_in_a_row_that_arrive_within_the_shortest_time() -> None:
    options = shared_case().worthwhile[:1]
    spread = np.arange(7) * 10.0

    def gap(arrivals: np.ndarray) -> float | None:
        return loaded.gap_to_exhaustive(known_requests(options, [arrivals], Bandwidth.constant(1e6)))

    assert gap(spread) is None
    assert gap(np.append(spread, 70.0)) == pytest.approx(0.0)
    crowded = gap(np.append(spread, 70.0 + 0.01 * np.arange(8)))
    assert crowded is not None
    assert 0 <= crowded <= 0.02


def test_each_load_is_compared_with_the_oracle_over_all_traces() -> None:
    low, high = cell(10, 8, 10, gap=0.0), cell(20, 9, 12, gap=0.02)
    results = {
        "a": {0.3: low, 0.6: low, 0.9: high},
        "b": {0.3: low, 0.6: cell(10, 5, 10), 0.9: cell(20, 12, 12)},
    }
    found = loaded.verdict(results, "here")
    assert (found["traces"], found["source"], list(found["load"])) == (2, "here", ["0.3", "0.6", "0.9"])
    last = found["load"]["0.9"]
    assert (last["requests"], last["refused"], last["fallbacks"]) == (40, 2, 4)
    assert last["utility_vs_oracle"] == pytest.approx(21 / 24)
    assert (last["worst_trace"], last["worst_trace_vs_oracle"]) == ("a", pytest.approx(0.75))
    assert last["requests_per_second"] == pytest.approx(0.9 * shared_case().capacity, abs=1e-3)
    few = found["beam"]["exhaustive"]
    assert (few["requests"], few["instances"]) == (8, 4)
    assert (few["mean_gap"], few["max_gap"]) == (pytest.approx(0.02 / 4), pytest.approx(0.02))


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
    monkeypatch.setattr(jobs, "QUICK_LOADED_SECONDS", 3.0)
    monkeypatch.setattr(bench_slo, "pool_of", ThreadPool)
    assert bench_slo.main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert (found["quick"], found["traces"]) == (True, 1 if recorded else 6)
    assert list(found["load"]) == ["0.3", "0.6", "0.9"]
    for load in found["load"].values():
        assert {"utility_vs_oracle", "requests"} <= set(load)
        assert load["utility"] <= load["bound"] + 1e-9
        assert load["oracle"] <= load["bound"] + 1e-9
    assert found["beam"]["width"] == 128
    assert "gap to exhaustive search" in printed.err
    assert f"{found['traces']}/{found['traces']} traces" in printed.err
    detail = json.loads(out.read_text())["traces"]
    assert all(set(trace) == {"0.3", "0.6", "0.9"} for trace in detail.values())


@pytest.mark.parametrize("other", [["--every", "1"], ["--arrivals", "poisson"], ["--plots", "plots"]])
def test_the_load_sets_the_arrivals_itself(other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_slo.main(["--load", *other])
    assert other[0] in capsys.readouterr().err
