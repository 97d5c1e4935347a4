"""The operator's pods in the namespaces of services are closed but for what the product needs."""

import dataclasses
from typing import Any

import pytest

from edge_operator.cluster import DEPLOYMENTS, NETWORK_POLICIES, Object
from edge_operator.nodes.network_policies import network_policies
from edge_operator.settings import Allowed

World = Any  # tests/operator/conftest.py
POLICIES = ["edge-default-deny", "edge-runtime"]
TEST_POD = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge-intelligence"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "edge-test"}},
}


def allow(world: World, allowed: Allowed | None) -> None:
    world.settings = dataclasses.replace(world.settings, network_policies=allowed)


def names(world: World) -> list[str]:
    return sorted(body["metadata"]["name"] for body in world.cluster.find(NETWORK_POLICIES, "default"))


def test_policies_come_with_the_first_service_of_a_namespace_and_go_with_the_last(world: World) -> None:
    allow(world, Allowed())
    world.settle()
    assert names(world) == POLICIES
    body = world.service()
    deleted = {"deletionTimestamp": world.clock().wall().isoformat()}
    world.cluster.put(body | {"metadata": body["metadata"] | deleted})
    world.reconcile()
    world.reconcile_namespace()
    assert names(world) == []


def test_without_them_in_the_settings_those_of_before_are_removed(world: World) -> None:
    world.settle()
    assert names(world) == []
    allow(world, Allowed())
    world.reconcile_namespace()
    assert names(world) == POLICIES
    before = world.cluster.find(DEPLOYMENTS, "default")
    allow(world, None)
    world.reconcile_namespace()
    assert names(world) == []
    assert world.cluster.find(DEPLOYMENTS, "default") == before


def test_a_changed_policy_is_applied_again(world: World) -> None:
    allow(world, Allowed())
    world.settle()
    policy = world.cluster.get(NETWORK_POLICIES, "default", "edge-runtime")
    world.cluster.put(policy | {"spec": policy["spec"] | {"ingress": []}})
    world.reconcile_namespace()
    assert world.cluster.get(NETWORK_POLICIES, "default", "edge-runtime")["spec"] == policy["spec"]


def test_they_select_the_operators_pods_alone(world: World) -> None:
    allow(world, Allowed())
    world.settle()
    deployment = world.cluster.find(DEPLOYMENTS, "default")[0]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    deny, runtime = network_policies("default", world.settings)
    assert deny["spec"]["policyTypes"] == runtime["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in deny["spec"]
    for policy in (deny, runtime):
        selector = policy["spec"]["podSelector"]["matchLabels"]
        assert selector["app.kubernetes.io/managed-by"] == "edge-intelligence"
        assert selector.items() <= labels.items()
    (component,) = deny["spec"]["podSelector"]["matchExpressions"]
    assert component["values"] == ["runtime", "fetcher"]
    assert labels[component["key"]] == "runtime"


def rules(world: World, allowed: Allowed) -> list[Object]:
    allow(world, allowed)
    _, runtime = network_policies("default", world.settings)
    found: list[Object] = runtime["spec"]["ingress"]
    return found


def test_everyone_may_call_services_and_only_runtimes_their_ports_for_each_other(world: World) -> None:
    peers, clients = rules(world, Allowed(metrics=({"namespaceSelector": {}},)))
    assert "ports" not in peers
    (peer,) = peers["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "runtime"
    assert "namespaceSelector" not in peer
    assert clients == {"ports": [{"port": "http"}, {"port": "grpc"}]}


def test_named_clients_are_the_only_ones_beside_prometheus_and_the_test_of_the_chart(world: World) -> None:
    shop: Object = {"namespaceSelector": {"matchLabels": {"team": "shop"}}}
    prometheus: Object = {"podSelector": {}}
    _, clients, metrics = rules(world, Allowed((shop,), (prometheus,)))
    assert clients["from"] == [shop, TEST_POD]
    assert metrics == {"from": [prometheus], "ports": [{"port": "http"}]}


@pytest.mark.parametrize("secret", ["", "edge-runtimes"])
def test_metrics_have_a_port_of_their_own_where_the_others_require_certificates(
    world: World, secret: str
) -> None:
    world.settings = dataclasses.replace(world.settings, tls_secret=secret)
    _, clients, metrics = rules(world, Allowed(({"podSelector": {}},), ({"podSelector": {}},)))
    assert metrics["ports"] == [{"port": "health" if secret else "http"}]
    assert ({"port": "health"} in clients["ports"]) is bool(secret)


def test_runtimes_have_the_priority_class_of_the_settings(world: World) -> None:
    world.settings = dataclasses.replace(world.settings, priority_class="edge")
    world.settle()
    pods = [body["spec"]["template"]["spec"] for body in world.cluster.find(DEPLOYMENTS, "default")]
    assert [pod.get("priorityClassName") for pod in pods] == ["edge"] * len(pods)
