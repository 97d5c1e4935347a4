"""What linters of rules find wrong in practice, and whether the rules are those of the code."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edge_monitoring.generate import files, main
from edge_monitoring.rules import WINDOWS
from exported_metrics import exported
from rule_files import FILES, RULES, Document, Promtool

_NAME = re.compile(r"\b(?:edge|process)_\w+(?::\w+)*")
_FUNCTION = re.compile(r"\b(rate|increase|histogram_quantile)\(([^()]*)")


def all_rules(groups: Sequence[Document], kind: str) -> Iterator[Document]:
    return (rule for group in groups for rule in group["rules"] if kind in rule)


def without_labels(expression: str) -> str:
    """An expression without label matchers and grouping, in which names are those of metrics alone."""
    found = re.sub(r"\{[^{}]*\}", "", expression)
    return re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right) \([^()]*\)", "", found)


def test_the_files_are_those_of_the_code() -> None:
    assert {name: (FILES / name).read_text() for name in files()} == files()
    found = {str(path.relative_to(FILES)) for path in FILES.rglob("*.*")}
    assert {name for name in found if not name.startswith("crds/")} == set(files())


def test_a_file_that_differs_is_reported_or_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    changed = tmp_path / "rules.yaml"
    changed.write_text("groups: []")
    assert main([str(tmp_path), "--check"]) == 1
    assert str(changed) in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert changed.read_text() == RULES.read_text()


def test_promtool_finds_nothing_to_complain_about(promtool: Promtool) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_a_rule_is_exported_or_recorded(groups: Sequence[Document]) -> None:
    known = set(exported()) | {rule["record"] for rule in all_rules(groups, "record")}
    for group in groups:
        for rule in group["rules"]:
            named = set(_NAME.findall(without_labels(rule["expr"])))
            assert named
            assert named <= known, rule


def test_every_label_that_a_rule_selects_or_groups_by_exists(groups: Sequence[Document]) -> None:
    """Labels of series, of the targets of monitors, and of recording rules."""
    known = {label for labels in exported().values() for label in labels}
    known |= {"namespace", "pod", "node", "window", "le"}
    for group in groups:
        for rule in group["rules"]:
            grouped = re.findall(r"\b(?:by|on|group_left) \(([^()]*)\)", rule["expr"])
            named = {name.strip() for each in grouped for name in each.split(",")}
            named |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", rule["expr"]))
            assert named - {""} <= known, rule


def test_only_counters_have_rates(groups: Sequence[Document]) -> None:
    for group in groups:
        for rule in group["rules"]:
            for function, argument in _FUNCTION.findall(rule["expr"]):
                if function != "histogram_quantile":
                    name = argument.partition("{")[0].partition("[")[0]
                    assert name.endswith(("_total", "_count", "_sum", "_bucket")), rule


def test_recorded_names_have_a_level_a_metric_and_an_operation_and_no_window(
    groups: Sequence[Document],
) -> None:
    for rule in all_rules(groups, "record"):
        assert re.fullmatch(r"edge_slo:[a-z_]+:[a-z_]+", rule["record"]), rule
        assert not re.search(r"\d", rule["record"]), rule


def test_an_alert_compares_with_a_limit_and_says_what_to_do(groups: Sequence[Document]) -> None:
    for alert in all_rules(groups, "alert"):
        compares = re.search(r" (?:>|<|==|>=|<=) ", alert["expr"]) or alert["expr"].startswith("absent(")
        assert compares, alert
        assert alert["labels"]["severity"] in ("critical", "warning"), alert
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}, alert
        assert alert["annotations"]["summary"].endswith("."), alert
        assert re.fullmatch(r"\d+[mh]", alert["for"]), alert


def test_the_tiers_are_those_of_the_workbook(groups: Sequence[Document]) -> None:
    tiers = {
        alert["labels"]["tier"]: (
            float(re.findall(r"clamp_max\(([\d.]+) \*", alert["expr"])[0]),
            re.findall(r'ratio_rate\{window="(\w+)"\}', alert["expr"]),
            alert["labels"]["severity"],
        )
        for alert in all_rules(groups, "alert")
        if "tier" in alert["labels"]
    }
    assert tiers == {
        "1": (14.4, ["5m", "1h"], "critical"),
        "2": (6.0, ["30m", "6h"], "critical"),
        "3": (3.0, ["2h", "1d"], "warning"),
        "4": (1.0, ["6h", "3d"], "warning"),
    }
    assert {window for _, windows, _ in tiers.values() for window in windows} == set(WINDOWS)
