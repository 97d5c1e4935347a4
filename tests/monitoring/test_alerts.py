"""Every alert fires in a situation that it is for, and not in one that is close to it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experience.alert_scenarios import OWNER, SCENARIOS, WHOLE, slo
from benchmarks.experience.alerts import firing, silent, situation, verified
from rule_files import RULES, Document, Promtool


def verdict(promtool: Promtool, folder: Path, situations: Sequence[Document]) -> None:
    done = verified(promtool, RULES, folder, situations)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_in_its_situation(promtool: Promtool, tmp_path: Path) -> None:
    verdict(promtool, tmp_path, [situation(s.alert, s.fires, firing(s)) for s in SCENARIOS])


def test_no_alert_fires_in_a_situation_close_to_it(promtool: Promtool, tmp_path: Path) -> None:
    verdict(promtool, tmp_path, [situation(s.alert, s.quiet, silent(s)) for s in SCENARIOS])


def test_each_alert_has_a_situation(groups: Sequence[Document]) -> None:
    def keys(found: Any) -> list[tuple[str, str]]:
        return sorted((each["alert"], each["labels"].get("tier", "")) for each in found)

    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    tested = [{"alert": s.alert, "labels": s.labels} for s in SCENARIOS]
    assert keys(rules) == keys(tested)


def test_a_message_names_only_labels_that_the_alert_has(groups: Sequence[Document]) -> None:
    rules = {
        (rule["alert"], rule["labels"].get("tier", "")): rule
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    for scenario in SCENARIOS:
        rule = rules[scenario.alert, scenario.labels.get("tier", "")]
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert named <= {*scenario.labels, *rule["labels"]}, scenario.alert


def test_an_objective_of_90_percent_can_burn_fast(promtool: Promtool, tmp_path: Path) -> None:
    """All requests miss it, which is only 10 times its budget."""
    burn = next(each for each in SCENARIOS if each.labels.get("tier") == "1")
    series = slo(missed=100, met=0, objective=0.9)
    verdict(promtool, tmp_path, [situation("low objective", series, firing(burn))])


def test_a_burn_ends_soon_after_its_cause(promtool: Promtool, tmp_path: Path) -> None:
    """The short window ends the alert although the long one still has the misses."""
    series = slo(0, 0) | {
        'edge_slo_requests_total{namespace="shop", service="cams", met="false"}': "0+100x20 2000+0x40",
        'edge_slo_requests_total{namespace="shop", service="cams", met="true"}': "0+0x20 0+100x40",
    }
    burn = next(each for each in SCENARIOS if each.labels.get("tier") == "1")
    ended = firing(burn) | {"eval_time": "28m", "exp_samples": []}
    verdict(promtool, tmp_path, [situation("a burn", series, firing(burn), ended)])


def test_the_message_of_a_burn_names_the_service_and_its_dashboard(
    promtool: Promtool, tmp_path: Path
) -> None:
    one = situation("a message", slo(missed=100, met=0))
    one["alert_rule_test"] = [
        {
            "eval_time": "4m",
            "alertname": "EdgeErrorBudgetBurnsFast",
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "critical", "tier": "1", "window": "1h", **WHOLE},
                    "exp_annotations": {
                        "summary": "shop/cams burns its error budget 14.4 times too fast.",
                        "description": "100% of the requests of 5m missed the SLO, and so many did over 1h, "
                        "too. An hour of this uses 2 % of 28 days' budget.",
                        "runbook_url": "docs/runbooks.md#edgeerrorbudgetburnsfast",
                        "dashboard_url": "/d/edge-service/edge-service?var-namespace=shop&var-service=cams",
                    },
                }
            ],
        }
    ]
    verdict(promtool, tmp_path, [one])


def test_windows_are_labels_of_the_recorded_series(promtool: Promtool, tmp_path: Path) -> None:
    def recorded(name: str, window: str, value: float, labels: str) -> Document:
        sample = {"labels": f'{name}{{{labels}, window="{window}"}}', "value": value}
        found = f'{name}{{window="{window}"}}'
        return {"expr": found, "eval_time": "2h", "exp_samples": [sample]}

    own = OWNER.partition(", tenant")[0]
    checks = [
        check
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
        for check in (
            recorded("edge_slo:sli_error:ratio_rate", window, 0.25, own),
            recorded("edge_slo:burn_rate:ratio", window, 1, OWNER),
        )
    ]
    left = {f'edge_slo_error_budget_remaining_ratio{{{OWNER}, window="28d"}}': "0.75+0x240"}
    checks.append(recorded("edge_slo:error_budget_remaining:ratio", "28d", 0.75, OWNER))
    verdict(promtool, tmp_path, [situation("windows", slo(25, 75, objective=0.75) | left, *checks)])


def test_two_replicas_of_the_operator_count_once(promtool: Promtool, tmp_path: Path) -> None:
    """While one hands over to the other, both have exported the objective within five minutes."""
    series = {
        name.replace("edge_slo_objective{", f'edge_slo_objective{{pod="operator-{replica}", '): values
        for replica in (0, 1)
        for name, values in slo(25, 75, objective=0.75).items()
    }
    sample = {"labels": f'edge_slo:burn_rate:ratio{{{OWNER}, window="5m"}}', "value": 1}
    check = {"expr": 'edge_slo:burn_rate:ratio{window="5m"}', "eval_time": "1h", "exp_samples": [sample]}
    verdict(promtool, tmp_path, [situation("two replicas", series, check)])
