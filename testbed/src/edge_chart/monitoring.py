"""Values of what observes an installation: monitors, rules and dashboards."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from edge_chart.parts import KubernetesObject, NotEmpty, Values

Interval = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))?$")]
AlertName = Annotated[str, Field(pattern=r"^Edge[A-Za-z]+$")]
Labels = dict[str, str]


class Monitor(Values):
    """A monitor of the Prometheus Operator."""

    enabled: bool = Field(default=False, description="Whether to install it.")
    interval: Interval = Field(
        default="", description="Time between two scrapes. Empty: that of the Prometheus."
    )
    extra_labels: Labels = Field(
        default={},
        description="Labels by which a Prometheus selects it, such as {release: kube-prometheus-stack}: that "
        "chart ignores monitors and rules without the label of its own release.",
    )


class PrometheusRule(Values):
    """The recording rules and alerts, as an object of the Prometheus Operator."""

    enabled: bool = Field(default=False, description="Whether to install it.")
    extra_labels: Labels = Field(default={}, description="Labels by which a Prometheus selects it.")
    runbook_url: Annotated[str, Field(pattern=r"^(https?://[^#]+)?$")] = Field(
        default="", description="Address of docs/runbooks.md, without an anchor, that alerts link to."
    )
    grafana_url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = Field(
        default="", description="Address of Grafana, that alerts link to."
    )
    disabled_alerts: list[AlertName] = Field(
        default=[],
        description="Names of alerts to leave out.",
        json_schema_extra={"uniqueItems": True},
    )


class Dashboards(Values):
    """ConfigMaps with dashboards for the sidecar of Grafana."""

    enabled: bool = Field(default=True, description="Whether to install them.")
    label: NotEmpty = Field(default="grafana_dashboard", description="Label by which the sidecar finds them.")
    label_value: str = Field(default="1", description="Value of the label.")
    folder: str = Field(default="", description="Folder in Grafana. Empty: the sidecar's default.")
    folder_annotation: NotEmpty = Field(
        default="grafana_folder",
        description="Annotation in which the sidecar reads the folder, if it is configured to.",
    )
    extra_labels: Labels = Field(default={}, description="More labels of the ConfigMaps.")


SELECTOR: dict[str, Any] = {"matchLabels": {"dashboards": "grafana"}}


class GrafanaDashboard(Values):
    """GrafanaDashboard objects of the Grafana Operator, which read the same ConfigMaps."""

    enabled: bool = Field(default=False, description="Whether to install them.")
    instance_selector: KubernetesObject = Field(
        default=SELECTOR, description="Labels of the Grafana objects that show them."
    )
    folder: str = Field(default="", description="Folder in Grafana. Empty: its default.")


class Monitoring(Values):
    """What observes the installation. See docs/monitoring.md."""

    pod_monitor: Monitor = Field(
        default=Monitor(),
        description="A PodMonitor for the operator, the store and the runtimes of all namespaces. Without it "
        "and a serviceMonitor, pods of the operator and the store have the annotations prometheus.io/scrape, "
        "port and path.",
    )
    service_monitor: Monitor = Field(
        default=Monitor(),
        description="The same by ServiceMonitors, for a Prometheus that selects no PodMonitors.",
    )
    prometheus_rule: PrometheusRule = Field(default=PrometheusRule(), description="Rules and alerts.")
    dashboards: Dashboards = Field(default=Dashboards(), description="Dashboards for Grafana's sidecar.")
    grafana_dashboard: GrafanaDashboard = Field(
        default=GrafanaDashboard(), description="Dashboards for the Grafana Operator."
    )
