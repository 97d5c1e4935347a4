"""The settings with which `edge-operator explain` plans: those of the operator that runs."""

from typing import Any

import pytest

from edge_operator.errors import ExplanationError, SettingsError
from edge_operator.explaining.installed import installed
from messages import mentions

World = Any  # tests/operator/conftest.py
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


def test_a_wrong_variable_is_named(world: World) -> None:
    deploy(world, EDGE_RUNTIME_PULL_POLICY="Sometimes")
    with pytest.raises(SettingsError, match=mentions("EDGE_RUNTIME_PULL_POLICY", "Sometimes")):
        installed({}, world.cluster)
