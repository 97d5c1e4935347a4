"""Edgent's findings from Edgent's own regression coefficients (see conftest for what is assumed)."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_planning import EntryProblem, Mode, Plan, Slo, Tables, candidates, choose, plan_entry
from edge_planning.choosing.sentences import bandwidth_text, seconds_text

EXITS = ["exit1", "exit2", "exit3", "exit4", "exit5"]


def chosen(problem: EntryProblem, deadline: float, bandwidth: float) -> tuple[str, bool]:
    options = candidates(problem)
    choice = choose(options, deadline, bandwidth)
    assert choice is not None
    return options.name(choice.index), choice.met


def exit_number(name: str) -> int:
    return EXITS.index(name.split("@")[0])


def test_more_bandwidth_selects_a_later_exit(edgent: EntryProblem) -> None:
    picks = [chosen(edgent, 0.1, kbit * 1e3) for kbit in (50, 250, 1000, 1055, 1060, 1500)]
    assert [name for name, _ in picks] == [
        "exit2@local",
        "exit2@local",
        "exit2@local",
        "exit3@image",
        "exit4@image",
        "exit5@image",
    ]
    assert all(met for _, met in picks)


def test_a_looser_deadline_selects_a_later_exit(edgent: EntryProblem) -> None:
    picks = [chosen(edgent, ms / 1e3, 500e3) for ms in (30, 50, 100, 115, 120, 200, 1000)]
    numbers = [exit_number(name) for name, met in picks if met]
    assert [met for _, met in picks] == [False, True, True, True, True, True, True]
    assert numbers == sorted(numbers)
    assert [EXITS[n] for n in numbers] == ["exit1", "exit2", "exit3", "exit4", "exit5", "exit5"]


@pytest.mark.parametrize(
    ("mode", "kept"), [(Mode.AUTO, True), (Mode.PARTITION_ONLY, False), (Mode.LOCAL_ONLY, False)]
)
def test_partition_alone_misses_a_deadline_that_it_keeps_together_with_an_early_exit(
    edgent: EntryProblem, mode: Mode, kept: bool
) -> None:
    assert chosen(replace(edgent, mode=mode), 0.1, 500e3)[1] is kept


def test_an_early_exit_alone_is_less_accurate_than_together_with_partition(edgent: EntryProblem) -> None:
    alone = chosen(replace(edgent, mode=Mode.RIGHT_SIZING_ONLY), 0.1, 1.5e6)
    together = chosen(edgent, 0.1, 1.5e6)
    assert alone == ("exit2@local", True)
    assert together == ("exit5@image", True)


def test_exits_that_a_measured_bandwidth_cannot_tell_apart_do_not_fill_the_table(
    edgent: EntryProblem,
) -> None:
    # Run at the server, exit2 to exit5 meet 50 ms from 2.25, 2.27, 2.29 and 2.31 Mbit/s.
    plan = plan_entry(replace(edgent, slo=Slo(0.05), tables=Tables(safety=1.15)))
    assert isinstance(plan, Plan)
    assert [route.name for route in plan.table.routes] == ["exit5@image", "exit1@local"]
    assert 0 < plan.table.loss < 1e-3
    exact = plan_entry(replace(edgent, slo=Slo(0.05), tables=Tables(safety=1.0, least_accuracy=0.0)))
    assert isinstance(exact, Plan)
    assert len(exact.table.routes) == 4
    assert exact.table.loss < plan.table.loss


def test_the_worked_example_in_the_documentation_is_what_the_library_answers(edgent: EntryProblem) -> None:
    lines = []
    for ms in (30, 50, 100, 120, 150):
        plan = plan_entry(replace(edgent, slo=Slo(ms / 1e3)))
        assert isinstance(plan, Plan)
        for route in plan.table.routes:
            start = bandwidth_text(route.min_bandwidth) if route.min_bandwidth else "0"
            kept = {None: "never", 0.0: "always"}.get(route.met_from) or bandwidth_text(route.met_from or 0)
            lines.append(
                f"| {ms}ms | {route.name} | {route.accuracy:.2f} | {start} | {kept} | "
                f"{seconds_text(route.latency)} |"
            )
    document = (Path(__file__).parents[3] / "docs" / "planning.md").read_text(encoding="utf-8")
    missing = [line for line in lines if line not in document]
    assert not missing, "docs/planning.md lacks these rows:\n" + "\n".join(lines)
