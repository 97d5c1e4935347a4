"""Checks of what a Prometheus operator does with the chart's rules and monitors. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from edge_api.selectors import Expression, LabelSelector
from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import (
    POD_MONITORS,
    PROMETHEUSES,
    RULES,
    SERVICE_MONITORS,
    ClusterState,
    labels,
)
from edge_operator.cluster import NAMESPACES, Kind, Object
from edge_operator.pool_nodes import meets

_FIX: Final = (
    "Set the chart's value for extra labels of monitoring to those that the selector of the Prometheus "
    "requires (kube-prometheus-stack: `release: NAME`), or let it select all."
)


def selected(
    prometheus: Object, body: Object, selector: str, namespace_selector: str, namespaces: Mapping[str, Object]
) -> bool:
    """Whether a Prometheus uses an object. A selector that is missing selects nothing, an empty one all.

    selector, namespace_selector: fields of the spec. Without the latter, only its own namespace counts.
    """
    spec, own = prometheus["spec"], body["metadata"]["namespace"]
    wanted = spec.get(selector)
    if wanted is None or not _matches(labels(body), wanted):
        return False
    where = spec.get(namespace_selector)
    if where is None:
        return bool(own == prometheus["metadata"]["namespace"])
    namespace = namespaces.get(own)
    return _matches(labels(namespace) if namespace is not None else {}, where)


def _matches(found: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    expressions = tuple(
        Expression.model_construct(key=e["key"], operator=e["operator"], values=tuple(e.get("values") or ()))
        for e in selector.get("matchExpressions") or ()
    )
    wanted = LabelSelector.model_construct(
        match_labels=dict(selector.get("matchLabels") or {}), match_expressions=expressions
    )
    return meets(found, wanted)


def _unselected(state: ClusterState, kind: Kind, selector: str, namespace_selector: str) -> Iterator[Found]:
    namespaces = {body["metadata"]["name"]: body for body in state.of(NAMESPACES)}
    servers = state.of(PROMETHEUSES)
    for body in state.part_of_chart(kind):
        if not any(selected(each, body, selector, namespace_selector, namespaces) for each in servers):
            yield at(body, _said(body, servers, selector, namespace_selector))


def _said(body: Object, servers: tuple[Object, ...], selector: str, namespace_selector: str) -> str:
    wanted = "; ".join(
        f"Prometheus {each['metadata']['namespace']}/{each['metadata']['name']} has spec.{selector} "
        f"{_text(each['spec'].get(selector))} and spec.{namespace_selector} "
        f"{_text(each['spec'].get(namespace_selector))}"
        for each in servers
    )
    have = ", ".join(f"{key}={value}" for key, value in sorted(labels(body).items()))
    return f"no Prometheus selects it: it has the labels {have}, and {wanted}"


def _text(selector: Mapping[str, Any] | None) -> str:
    if selector is None:
        return "missing"
    return ", ".join(f"{k}={v}" for k, v in (selector.get("matchLabels") or {}).items()) or str(
        dict(selector)
    )


def _rules(state: ClusterState) -> Iterator[Found]:
    return _unselected(state, RULES, "ruleSelector", "ruleNamespaceSelector")


def _monitors(state: ClusterState) -> Iterator[Found]:
    yield from _unselected(state, POD_MONITORS, "podMonitorSelector", "podMonitorNamespaceSelector")
    yield from _unselected(
        state, SERVICE_MONITORS, "serviceMonitorSelector", "serviceMonitorNamespaceSelector"
    )


def _no_rules(state: ClusterState) -> Iterator[Found]:
    if not any(state.part_of_chart(RULES)):
        yield Found("PrometheusRule: the chart's rules are not installed, although there is a Prometheus")


def _no_prometheus(state: ClusterState) -> str:
    return "" if state.of(PROMETHEUSES) else "no Prometheus object: the Prometheus operator is not used here"


CHECKS: Final = (
    Check(
        "EI0601",
        "monitoring",
        "warning",
        "a Prometheus selects the rules",
        "No alert fires, and recorded series are empty: nothing reports that rules are ignored.",
        _FIX,
        _rules,
        reads=(PROMETHEUSES, RULES, NAMESPACES),
        skip=_no_prometheus,
    ),
    Check(
        "EI0602",
        "monitoring",
        "warning",
        "a Prometheus selects the monitors",
        "The operator and the runtimes are not scraped, so dashboards are empty.",
        _FIX,
        _monitors,
        reads=(PROMETHEUSES, POD_MONITORS, SERVICE_MONITORS, NAMESPACES),
        skip=_no_prometheus,
    ),
    Check(
        "EI0603",
        "monitoring",
        "info",
        "the chart's rules are installed",
        "There are no alerts for SLOs.",
        "Turn the chart's monitoring on.",
        _no_rules,
        reads=(PROMETHEUSES, RULES),
        skip=_no_prometheus,
    ),
)
