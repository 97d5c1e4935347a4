"""Every query of the dashboards and every rule of the chart finds data in the real Prometheus."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from testbed.dashboards.__main__ import BOARDS, RATE_INTERVAL, Source, values
from testbed.dashboards.asking import instant
from testbed.dashboards.reading import questions
from trials import PATIENCE, Document, Trial, another_service

RULES = BOARDS.parent / "rules.yaml"
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "factory"},
    "spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
}
WATTS = 3.5
BURNING, ENTRY = "burning", "edge-b"
REQUESTS = 200
"""That are lost while the link is cut: many times those before, so that the windows of both speeds burn."""


@pytest.fixture
def observed(trial: Trial) -> Iterator[Trial]:
    """The example with a Tenant and declared power, without which some panels have nothing to show."""
    kubectl = trial.cluster.kubectl
    groups = trial.get("devicepool", "factory")["spec"]["nodes"]
    powered = json.dumps({"spec": {"nodes": [{**group, "watts": WATTS} for group in groups]}})
    try:
        kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
        kubectl("patch", "devicepool", "factory", "--type", "merge", "-p", powered)
        yield trial
    finally:
        unpowered = json.dumps({"spec": {"nodes": groups}})
        kubectl("patch", "devicepool", "factory", "--type", "merge", "-p", unpowered)
        kubectl("delete", "tenant", "factory", "--ignore-not-found", "--timeout=60s")


def asked(source: Source) -> dict[str, str]:
    """The expressions of all panels of all dashboards, by dashboard, panel and letter."""
    found = {}
    for path in sorted(BOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        chosen = values(dashboard, source, {"namespace": "default", "service": "digits", "pool": "factory"})
        for question in questions(dashboard, chosen, RATE_INTERVAL):
            found[f"{path.stem}: {question.panel} {question.letter}"] = question.expression
    return found


def rules() -> list[Document]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def recorded(rule: Document) -> str:
    """The expression that finds what a recording rule has recorded."""
    labels = ", ".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
    return f"{rule['record']}{{{labels}}}"


def metrics_of(rule: Document) -> set[str]:
    """The metrics that an alert reads."""
    return set(re.findall(r"\bedge_\w+(?::\w+)*(?=[\[{), ]|$)", rule["expr"]))


def empty(source: Source, expressions: dict[str, str]) -> list[str]:
    """The names of the expressions that find no series with a number."""
    found = source.ask([instant(each) for each in expressions.values()])
    return [
        name
        for name, series in zip(expressions, found, strict=True)
        if all(each["value"][1] == "NaN" for each in series)
    ]


def test_every_query_of_a_dashboard_and_every_rule_finds_data(observed: Trial) -> None:
    trial, source = observed, Source(observed.bed)
    with ExitStack() as stack:
        for node in ("edge-a", "edge-b", "edge-c"):
            stack.enter_context(trial.load(node, rate=8))
        known = "edge_pool_nodes and on () edge_operator_tenant_weight and on () edge_slo_objective"
        trial.wait("the metrics of the operator", lambda: not empty(source, {"": known}), PATIENCE)
        wanted = asked(source)
        wanted |= {f"rule {recorded(rule)}": recorded(rule) for rule in rules() if "record" in rule}
        alerts = [rule for rule in rules() if "alert" in rule]
        wanted |= {f"{a['alert']}: {name}": name for a in alerts for name in metrics_of(a)}
        missing: list[str] = list(wanted)

        def complete() -> bool:
            missing[:] = empty(source, {name: wanted[name] for name in missing})
            return not missing

        try:
            trial.wait("data for every query", complete, PATIENCE)
        finally:
            print(f"{len(wanted) - len(missing)} of {len(wanted)} queries have data; none for {missing}")
    for alert in alerts:
        source.ask([instant(alert["expr"])])


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
