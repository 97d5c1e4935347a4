"""Tests the alerts with promtool: whether each fires in the situation that it is for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.experience.alert_scenarios import SCENARIOS, Scenario, Series

RULES = Path("charts/edge-intelligence/files/rules.yaml")
Document = dict[str, Any]
Promtool = Callable[..., subprocess.CompletedProcess[str]]


def alerts(rules: Path) -> list[Document]:
    """Returns the alerts of a file of rules."""
    groups = yaml.safe_load(rules.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def situation(name: str, series: Series, *checks: Document) -> Document:
    """Returns one test of promtool: samples of every minute."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": list(checks),
    }


def firing(scenario: Scenario) -> Document:
    """Returns the check that the alert fires with exactly its labels."""
    chosen = {"alertname": scenario.alert, "alertstate": "firing", "severity": scenario.severity}
    chosen |= {name: scenario.labels[name] for name in ("tier",) if name in scenario.labels}
    labels = {"__name__": "ALERTS", **chosen, **scenario.labels}
    sample = {"labels": _selector(labels), "value": 1}
    return {"expr": _selector(chosen, "ALERTS"), "eval_time": f"{scenario.at}m", "exp_samples": [sample]}


def silent(scenario: Scenario) -> Document:
    """Returns the check that the alert does not fire and will not."""
    expression = f'ALERTS{{alertname="{scenario.alert}"}}'
    return {"expr": expression, "eval_time": f"{scenario.at}m", "exp_samples": []}


def _selector(labels: dict[str, str], name: str = "") -> str:
    name = labels.get("__name__", name)
    shown = ", ".join(f'{k}="{v}"' for k, v in labels.items() if k != "__name__")
    return f"{name}{{{shown}}}"


def verified(
    promtool: Promtool, rules: Path, folder: Path, situations: Sequence[Document]
) -> subprocess.CompletedProcess[str]:
    """Runs promtool's tests; it ends with 0 if all hold. folder: for its file."""
    path = folder / "situations.yaml"
    tests = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": list(situations)}
    path.write_text(yaml.safe_dump(tests))
    return promtool("test", "rules", str(path))


def run_promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool, which Debian's package of Prometheus has."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def that_fire(promtool: Promtool, rules: Path, folder: Path) -> Iterator[Scenario]:
    """Yields the scenarios in which the alert fires, and does not in the situation close to it."""
    for scenario in SCENARIOS:
        both = [
            situation("fires", scenario.fires, firing(scenario)),
            situation("is quiet", scenario.quiet, silent(scenario)),
        ]
        if verified(promtool, rules, folder, both).returncode == 0:
            yield scenario
