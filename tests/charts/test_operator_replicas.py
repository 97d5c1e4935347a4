"""The replicas of the operator: how many can be spared, where they run, and which of them count as ready."""

from collections.abc import Callable
from typing import Any

import pytest

from edge_operator.health_server import LIVE, READY

Render = Callable[..., list[dict[str, Any]]]


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name))


def test_a_disruption_budget_exists_only_where_a_replica_can_be_spared(render: Render) -> None:
    alone = [body for body in render("operator.replicas=1") if body["kind"] == "PodDisruptionBudget"]
    assert [body["metadata"]["name"] for body in alone] == ["edge-admission"]
    budget = _one(render(), "PodDisruptionBudget", "edge-operator")
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("spread", "unsatisfiable", "skew"),
    [("Preferred", "ScheduleAnyway", 3), ("Required", "DoNotSchedule", 1)],
)
def test_the_replicas_of_the_operator_are_spread_over_nodes(
    render: Render, spread: str, unsatisfiable: str, skew: int
) -> None:
    deployment = _one(render(f"operator.spread={spread}"), "Deployment", "edge-operator")
    assert deployment["spec"]["replicas"] == 2
    (constraint,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (constraint["whenUnsatisfiable"], constraint["maxSkew"]) == (unsatisfiable, skew)
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()


def test_replicas_of_the_operator_are_spread_only_if_wanted(render: Render) -> None:
    deployment = _one(render("operator.spread=Disabled"), "Deployment", "edge-operator")
    assert "topologySpreadConstraints" not in deployment["spec"]["template"]["spec"]


def test_the_kubelet_asks_the_operator_whether_it_could_lead(render: Render) -> None:
    (container,) = _one(render(), "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == LIVE
    assert container["readinessProbe"]["httpGet"]["path"] == READY
