"""How far compute times were from the plan, in a form of bounded size."""

from __future__ import annotations

from edge_api.placement_reports import ExitResiduals
from edge_planning.costs.margins import conformal_quantile
from edge_runtime.residuals import EVERY, LEAST_RUNS, MOST_RATIOS, RECENT, WINDOW, Residuals


def add(residuals: Residuals, model: str, exit_: str, ratio: float, count: int = LEAST_RUNS) -> None:
    for _ in range(count):
        residuals.add(model, exit_, 0.02, ratio * 0.02)


def test_an_exit_is_reported_from_some_runs_on() -> None:
    residuals = Residuals()
    add(residuals, "sha256:a", "final", 1.5)
    add(residuals, "sha256:a", "exit1", 1.5, LEAST_RUNS - 1)
    (report,) = residuals.report(0.0)
    assert report == {"exit": "final", "count": LEAST_RUNS, "ratios": [1.5] * LEAST_RUNS}
    assert ExitResiduals.model_validate(report).count == LEAST_RUNS


def test_many_ratios_are_a_few_quantiles_whose_margin_is_not_smaller_and_hardly_larger() -> None:
    residuals = Residuals()
    for n in range(3 * WINDOW):
        residuals.add("sha256:a", "final", 1.0, 1.0 + (n * 7919 % WINDOW) / WINDOW)
    (report,) = residuals.report(0.0)
    assert (report["count"], len(report["ratios"])) == (WINDOW, MOST_RATIOS)
    exact = conformal_quantile([1.0 + n / WINDOW for n in range(WINDOW)], 95)
    assert exact - 0.005 <= conformal_quantile(report["ratios"], 95) <= exact * 1.03


def test_a_report_is_the_same_for_a_minute() -> None:
    residuals = Residuals()
    assert residuals.report(0.0) == []
    add(residuals, "sha256:a", "final", 1.0)
    assert residuals.report(EVERY - 1) == []
    assert residuals.report(EVERY) != []


def test_another_model_starts_again_and_what_was_not_predicted_does_not_count() -> None:
    residuals = Residuals()
    add(residuals, "sha256:a", "final", 1.0)
    add(residuals, "sha256:b", "exit1", 2.0)
    residuals.add("sha256:b", "exit1", 0.0, 2.0)
    (report,) = residuals.report(0.0)
    assert (report["exit"], report["count"], set(report["ratios"])) == ("exit1", LEAST_RUNS, {2.0})


def every_second(residuals: Residuals, start: int, ratios: list[float]) -> int:
    for now, ratio in enumerate(ratios, start):
        residuals.add("sha256:a", "final", 0.02, ratio * 0.02, float(now))
    return start + len(ratios)


def test_a_node_that_becomes_slower_is_reported_within_a_minute_by_its_recent_runs_alone() -> None:
    residuals = Residuals()
    slow_from = every_second(residuals, 0, [1.0] * 200)
    assert residuals.report(slow_from)[0]["ratios"][0] == 1.0
    noticed = None
    for now in range(slow_from, slow_from + 60):
        every_second(residuals, now, [2.0])
        (report,) = residuals.report(now)
        if noticed is None and report["ratios"][len(report["ratios"]) // 2] == 2.0:
            noticed = now - slow_from
    assert noticed is not None
    assert noticed < RECENT
    later = residuals.report(slow_from + 2 * EVERY)[0]
    assert later["count"] < LEAST_RUNS


def test_what_varies_without_a_shift_keeps_its_history() -> None:
    residuals = Residuals()
    end = every_second(residuals, 0, [0.9, 1.1] * 100)
    end = every_second(residuals, end, [1.1, 1.2] * 20)
    assert residuals.report(end)[0]["count"] == 240


def test_a_few_slow_runs_are_not_a_shift() -> None:
    residuals = Residuals()
    end = every_second(residuals, 0, [1.0] * 200)
    for now in (end + 40.0, end + 41.0):
        residuals.add("sha256:a", "final", 0.02, 0.2, now)
    assert residuals.report(end + 42.0)[0]["count"] == 202
