"""Monitors, rules and dashboards of the chart."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment, runtime_service
from edge_operator.settings import Settings
from messages import mentions
from rule_files import FILES

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]
POD_MONITOR, SERVICE_MONITOR = "monitoring.podMonitor.enabled=true", "monitoring.serviceMonitor.enabled=true"
RULES = "monitoring.prometheusRule.enabled=true"


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {body["metadata"]["name"]: body for body in objects if body["kind"] == kind}


def settings_of(objects: list[dict[str, Any]]) -> Settings:
    pod = of_kind(objects, "Deployment")["edge-operator"]["spec"]["template"]["spec"]
    variables = {v["name"]: v.get("value", "from-the-pod") for v in pod["containers"][0]["env"]}
    return Settings.from_environment(variables)


def annotations(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    template = of_kind(objects, "Deployment")[name]["spec"]["template"]
    found: dict[str, str] = template["metadata"].get("annotations") or {}
    return found


def test_without_values_there_are_annotations_and_dashboards_and_no_custom_resource(render: Render) -> None:
    objects = render()
    assert annotations(objects, "edge-operator")["prometheus.io/port"] == "9090"
    assert annotations(objects, "model-store")["prometheus.io/port"] == "8082"
    kinds = {body["kind"] for body in objects}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule", "GrafanaDashboard"}
    assert len(of_kind(objects, "ConfigMap")) == 5


def test_a_store_without_tls_is_scraped_at_its_only_port(render: Render) -> None:
    assert annotations(render("tls.mode=Disabled"), "model-store")["prometheus.io/port"] == "8080"


@pytest.mark.parametrize("value", [POD_MONITOR, SERVICE_MONITOR])
def test_with_a_monitor_pods_have_no_annotations(render: Render, value: str) -> None:
    objects = render(value)
    assert {name: annotations(objects, name) for name in ("edge-operator", "model-store")} == {
        "edge-operator": {},
        "model-store": {},
    }


@pytest.mark.parametrize("secret", ["", "edge-runtimes"])
def test_pod_monitors_select_the_pods_and_the_ports_that_serve_metrics(render: Render, secret: str) -> None:
    tls = ("tls.mode=Secrets", f"runtime.tlsSecret={secret}") if secret else ()
    objects = render(POD_MONITOR, *tls)
    runtime = runtime_deployment(
        Runtime("shop", "edge-a"), Host("edge-a", ready=True), settings_of(objects), SURGE
    )
    pods = {
        "edge-operator": of_kind(objects, "Deployment")["edge-operator"],
        "model-store": of_kind(objects, "Deployment")["model-store"],
        "edge-runtimes": runtime,
    }
    if not secret:  # with tls.mode Secrets, only with a certificate of its own
        pods["edge-admission"] = of_kind(objects, "Deployment")["edge-admission"]
    monitors = of_kind(objects, "PodMonitor")
    assert set(monitors) == set(pods)
    for name, deployment in pods.items():
        template = deployment["spec"]["template"]
        wanted = monitors[name]["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= template["metadata"]["labels"].items()
        [endpoint] = monitors[name]["spec"]["podMetricsEndpoints"]
        ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert endpoint["port"] in ports
        assert endpoint["honorLabels"] is True
        assert endpoint["relabelings"][0]["targetLabel"] == "node"
        if scraped := (template["metadata"].get("annotations") or {}).get("prometheus.io/port"):
            assert ports[endpoint["port"]] == int(scraped)
    assert monitors["edge-runtimes"]["spec"]["namespaceSelector"] == {"any": True}


def test_a_runtime_of_another_namespace_is_left_out_if_the_operator_watches_one(render: Render) -> None:
    monitor = of_kind(render(POD_MONITOR, "operator.watchNamespace=shop"), "PodMonitor")["edge-runtimes"]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop"]}


def test_service_monitors_select_services_with_the_port(render: Render) -> None:
    objects = render(SERVICE_MONITOR)
    services = [*of_kind(objects, "Service").values()]
    services.append(runtime_service(Runtime("shop", "edge-a"), settings_of(objects)))
    for monitor in of_kind(objects, "ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        [found] = [body for body in services if wanted <= body["metadata"]["labels"].items()]
        [endpoint] = monitor["spec"]["endpoints"]
        assert endpoint["port"] in [port["name"] for port in found["spec"]["ports"]]
        assert endpoint["honorLabels"] is True


def test_extra_labels_are_on_what_a_prometheus_selects(render: Render) -> None:
    values = [f"monitoring.{part}.extraLabels.release=kps" for part in ("podMonitor", "prometheusRule")]
    objects = render(POD_MONITOR, RULES, *values)
    selected = [body for body in objects if body["kind"] in ("PodMonitor", "PrometheusRule")]
    assert [body["metadata"]["labels"]["release"] for body in selected] == ["kps"] * 5


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            (POD_MONITOR, SERVICE_MONITOR),
            ("monitoring.podMonitor.enabled", "monitoring.serviceMonitor.enabled", "twice"),
        ),
        (
            (SERVICE_MONITOR, "tls.mode=Secrets", "runtime.tlsSecret=mine"),
            ("monitoring.serviceMonitor.enabled", '"mine"', "monitoring.podMonitor"),
        ),
        (
            (RULES, "monitoring.prometheusRule.disabledAlerts={EdgeNothing}"),
            ("monitoring.prometheusRule.disabledAlerts", "EdgeNothing"),
        ),
        ((RULES, "monitoring.prometheusRule.runbookUrl=wiki"), ("runbookUrl",)),
        (("monitoring.podMonitor.interval=often",), ("interval",)),
        (("monitoring.alerts=true",), ("alerts",)),
    ],
)
def test_wrong_values_are_refused_with_a_message(
    helm: Helm, values: tuple[str, ...], words: tuple[str, ...]
) -> None:
    arguments = [part for value in values for part in ("--set", value)]
    chart = str(FILES.parent)
    done = helm("template", "test", chart, "--kube-version", "1.34.2", *arguments)
    assert done.returncode != 0
    assert mentions(*words).search(done.stderr), done.stderr


def test_the_rules_are_those_of_the_file_with_links_of_the_installation(render: Render) -> None:
    objects = render(
        RULES,
        "monitoring.prometheusRule.runbookUrl=https://wiki.example/edge",
        "monitoring.prometheusRule.grafanaUrl=https://grafana.example/",
    )
    groups = of_kind(objects, "PrometheusRule")["edge-intelligence"]["spec"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 25
    for alert in alerts:
        notes = alert["annotations"]
        assert notes["runbook_url"] == f"https://wiki.example/edge#{alert['alert'].lower()}"
        assert notes["dashboard_url"].startswith("https://grafana.example/d/edge-")
    assert "{{ $labels.service }}" in alerts[0]["annotations"]["summary"]


def test_an_alert_can_be_left_out(render: Render) -> None:
    def names(*values: str) -> set[str]:
        groups = of_kind(render(RULES, *values), "PrometheusRule")["edge-intelligence"]["spec"]["groups"]
        return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}

    disabled = "monitoring.prometheusRule.disabledAlerts={EdgeRouteFlaps,EdgeNodeSlow}"
    assert names() - names(disabled) == {"EdgeRouteFlaps", "EdgeNodeSlow"}


def test_dashboards_are_found_by_the_sidecar_and_are_those_of_the_code(render: Render) -> None:
    objects = render("monitoring.dashboards.folder=Edge")
    for path in (FILES / "dashboards").glob("*.json"):
        found = of_kind(objects, "ConfigMap")[f"{path.stem}-dashboard"]
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "Edge"}
        assert json.loads(found["data"][path.name]) == json.loads(path.read_text())


def test_dashboards_can_have_another_label_or_be_left_out(render: Render) -> None:
    labelled = of_kind(
        render("monitoring.dashboards.label=dash", "monitoring.dashboards.labelValue=yes"), "ConfigMap"
    )
    assert {body["metadata"]["labels"]["dash"] for body in labelled.values()} == {"yes"}
    assert of_kind(render("monitoring.dashboards.enabled=false"), "ConfigMap") == {}


def test_objects_of_the_grafana_operator_read_the_same_config_maps(render: Render) -> None:
    objects = render("monitoring.grafanaDashboard.enabled=true", "monitoring.dashboards.enabled=false")
    maps = of_kind(objects, "ConfigMap")
    for body in of_kind(objects, "GrafanaDashboard").values():
        named = body["spec"]["configMapRef"]
        assert named["key"] in maps[named["name"]]["data"]
        assert re.fullmatch(r"edge-\w+", body["metadata"]["name"])
    assert not [body for body in maps.values() if "grafana_dashboard" in body["metadata"]["labels"]]
