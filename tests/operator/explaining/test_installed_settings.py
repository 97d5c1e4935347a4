"""The settings with which explanations plan: those of the operator that runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_operator.errors import ExplanationError, PermissionDeniedError, SettingsError
from edge_operator.explaining.installed import installed
from messages import mentions

World = Any  # tests/operator/conftest.py
CHART = Path(__file__).parents[3] / "charts" / "edge-intelligence"
VARIABLES = {"EDGE_STORE": "http://store.test:8080", "EDGE_RUNTIME_IMAGE": "edge-runtime:test"}


def deploy(world: World, namespace: str = "edge", **variables: str) -> None:
    env: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in {**VARIABLES, **variables}.items()
    ]
    env.append({"name": "EDGE_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "edge-operator",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "edge-operator"},
        },
        "spec": {"template": {"spec": {"containers": [{"name": "operator", "env": env}]}}},
    }
    world.cluster.put(body)


def test_in_the_operators_pod_they_are_from_the_environment(world: World) -> None:
    found = installed({**VARIABLES, "EDGE_WATCH_NAMESPACE": "shop"}, world.cluster)
    assert (found.settings.store_url, found.scope) == ("http://store.test:8080", "shop")


def test_elsewhere_they_are_from_the_operators_deployment(world: World) -> None:
    resources = '{"requests": {"memory": "64Mi"}}'
    deploy(world, EDGE_RUNTIME_RESOURCES=resources, EDGE_WATCH_NAMESPACE="shop")
    found = installed({}, world.cluster)
    assert found.settings.runtime_resources == {"requests": {"memory": "64Mi"}}
    assert (found.settings.namespace, found.scope) == ("edge", "shop")


def test_without_an_operator_the_error_says_where_to_run_the_command(world: World) -> None:
    with pytest.raises(ExplanationError, match=mentions("Deployment", "edge-operator", "pod")):
        installed({}, world.cluster)


def test_of_several_operators_one_is_chosen_by_its_namespace(world: World) -> None:
    deploy(world, "north")
    deploy(world, "south")
    with pytest.raises(ExplanationError, match=mentions("EDGE_OPERATOR_NAMESPACE", "north", "south")):
        installed({}, world.cluster)
    assert installed({"EDGE_OPERATOR_NAMESPACE": "south"}, world.cluster).settings.namespace == "south"


@pytest.mark.parametrize("namespace", ["", "south"])
def test_without_the_right_to_see_the_operator_the_charts_defaults_are_assumed_and_noted(
    world: World, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    def forbidden(*_: Any) -> Any:
        raise PermissionDeniedError("deployments.apps is forbidden")

    monkeypatch.setattr(world.cluster, "find", forbidden)
    found = installed({"EDGE_OPERATOR_NAMESPACE": namespace}, world.cluster)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert found.settings.runtime_resources == values["runtime"]["resources"]
    assert found.settings.issues_certificates == (values["tls"]["mode"] == "Auto")
    assert found.settings.namespace == (namespace or "edge-intelligence")
    (note,) = found.notes
    assert mentions("Deployments", namespace or "EDGE_OPERATOR_NAMESPACE").search(note)


def test_a_wrong_variable_is_named(world: World) -> None:
    deploy(world, EDGE_RUNTIME_PULL_POLICY="Sometimes")
    with pytest.raises(SettingsError, match=mentions("EDGE_RUNTIME_PULL_POLICY", "Sometimes")):
        installed({}, world.cluster)
