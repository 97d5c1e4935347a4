"""Every query of the dashboards and every rule of the chart finds data in the real Prometheus."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.experience import states
from benchmarks.experience.panels import IDLE, KNOWN, ROLLOUT, Unanswered, asked, by_query, empty, observed
from testbed.dashboards.__main__ import BOARDS, Source
from testbed.dashboards.asking import instant
from trials import PATIENCE, Document, Trial, another_service

RULES = BOARDS.parent / "rules.yaml"
BURNING, ENTRY = "burning", "edge-b"
REQUESTS = 200
"""That are lost while the link is cut: many times those before, so that the windows of both speeds burn."""


def rules() -> list[Document]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def recorded(rule: Document) -> str:
    """The expression that finds what a recording rule has recorded."""
    labels = ", ".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
    return f"{rule['record']}{{{labels}}}"


def metrics_of(rule: Document) -> set[str]:
    """The metrics that an alert reads."""
    return set(re.findall(r"\bedge_\w+(?::\w+)*(?=[\[{), ]|$)", rule["expr"]))


def test_every_query_of_a_dashboard_and_every_rule_finds_data(trial: Trial) -> None:
    source = Source(trial.bed)
    with ExitStack() as stack:
        stack.enter_context(observed(trial.cluster.kubectl))
        for node in ("edge-a", "edge-b", "edge-c"):
            stack.enter_context(trial.load(node, rate=8))
        trial.wait("the metrics of the operator", lambda: not empty(source, {"": KNOWN}), PATIENCE)
        wanted = by_query(asked(source))
        wanted |= {f"rule {recorded(rule)}": recorded(rule) for rule in rules() if "record" in rule}
        alerts = [rule for rule in rules() if "alert" in rule]
        wanted |= {f"{a['alert']}: {name}": name for a in alerts for name in metrics_of(a)}
        missing = Unanswered(source, wanted)
        try:
            trial.wait("data for every query", lambda: not missing(), PATIENCE)
        finally:
            answered = len(wanted) - len(missing.names)
            print(f"{answered} of {len(wanted)} queries have data; none for {missing.names}")
    for alert in alerts:
        source.ask([instant(alert["expr"])])


def check_data(trial: Trial, source: Source, panels: frozenset[str]) -> None:
    """Waits until every query of the panels finds data."""
    wanted = by_query(asked(source, panels))
    assert len(wanted) >= len(panels)
    missing = Unanswered(source, wanted)
    try:
        trial.wait("data for every query", lambda: not missing(), PATIENCE)
    finally:
        print(f"no data for {missing.names}")


@pytest.mark.extended
def test_panels_of_idle_services_find_data_once_a_service_was_idle(trial: Trial) -> None:
    with states.idle(trial.cluster), trial.load("edge-a", rate=states.SELDOM):
        check_data(trial, Source(trial.bed), IDLE)


@pytest.mark.extended
def test_panels_of_roll_outs_find_data_while_a_revision_is_compared(trial: Trial, tmp_path: Path) -> None:
    with (
        trial.unlimited(),
        states.rolling(trial.cluster, trial.trained.onnx, tmp_path),
        trial.load("edge-a", rate=8),
    ):
        check_data(trial, Source(trial.bed), ROLLOUT)


@pytest.mark.extended
def test_the_alert_fires_once_a_cut_link_has_burnt_the_error_budget(trial: Trial) -> None:
    """A node that only splits to the cloud loses its link for a moment, and with it all of its requests."""
    source, kubectl, body = Source(trial.bed), trial.cluster.kubectl, another_service(BURNING)
    body["spec"] |= {"mode": "CloudOnly", "deadline": {"action": "Fail"}}
    body["spec"]["entryNodes"] = {"nodeSelector": {"kubernetes.io/hostname": ENTRY}}
    own = f'{{namespace="default", service="{BURNING}"}}'

    def firing() -> list[dict[str, Any]]:
        alert = f'ALERTS{{alertname="EdgeErrorBudgetBurnsFast", service="{BURNING}", alertstate="firing"}}'
        [found] = source.ask([instant(alert)])
        return found

    try:
        kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
        trial.wait("Ready", lambda: trial.condition(BURNING, "Ready").get("status") == "True")
        with trial.load(ENTRY, rate=2, service=BURNING) as load:
            load.wait_for_cut()
            trial.wait(
                "its first requests", lambda: not empty(source, {"": f"edge_slo_requests_total{own} > 0"})
            )
        assert not firing()
        trial.cluster.set_links(0.0)
        with trial.load(ENTRY, rate=20, service=BURNING) as load:
            trial.wait("lost requests", lambda: sum("error" in one for one in load.answers) >= REQUESTS)
        trial.cluster.set_links(None)
        trial.wait("the alert", lambda: bool(firing()), PATIENCE)
        labels = firing()[0]["metric"]
        assert (labels["severity"], labels["tier"], labels["pool"]) == ("critical", "1", "factory")
    finally:
        trial.cluster.set_links(None)
        kubectl("delete", "inferenceservice", BURNING, "--ignore-not-found", "--timeout=120s")
