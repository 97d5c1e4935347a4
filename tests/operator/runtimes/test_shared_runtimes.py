"""The services of a namespace share a runtime at each node, which comes and goes with its services."""

import dataclasses
from typing import Any

import pytest

from edge_operator.authority.failures import Uncertified
from edge_operator.cluster import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    PLACEMENTS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from edge_operator.keys import ServiceKey
from edge_operator.loops.namespaces import NamespaceMemory, reconcile_namespace
from edge_operator.pool.states import RUNTIMES_CURRENT

World = Any  # tests/operator/conftest.py
NODES = ["edge-runtime-cam-1", "edge-runtime-cam-2", "edge-runtime-gate"]


class Second:
    """Another service of the namespace, on the same pool."""

    def __init__(self, world: World, name: str = "letters", **spec: Any) -> None:
        self.world, self.key = world, ServiceKey("default", name)
        body = world.service()
        world.cluster.put(
            body
            | {"metadata": {"name": name, "namespace": "default"}, "spec": body["spec"] | spec, "status": {}}
        )

    def reconcile(self) -> None:
        """As an event would."""
        self.world.plan()
        self.world.reconcile_namespace()

    def delete(self) -> None:
        """As a user would, and what Kubernetes does then."""
        body = self.world.cluster.get(INFERENCE_SERVICES, *self.key)
        deleted = {"deletionTimestamp": self.world.clock().wall().isoformat()}
        self.world.cluster.put(body | {"metadata": body["metadata"] | deleted})
        self.reconcile()


def test_a_second_service_adds_its_tables_and_changes_no_deployment(world: World) -> None:
    world.settle()
    before = world.cluster.find(DEPLOYMENTS)
    second = Second(world)
    del world.log[:]
    second.reconcile()
    assert world.cluster.find(DEPLOYMENTS) == before
    assert world.deployments() == NODES
    kinds = {line.split()[1] for line in world.log if line.startswith("apply")}
    assert kinds == {"ModelProfile", "Placement", "Service"}
    assert [line for line in world.log if line.startswith("apply Service")] == ["apply Service letters"]


def access(world: World) -> list[tuple[str, str]]:
    """The objects by which the namespace's runtimes read Placements."""
    kinds = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS)
    return [
        (kind.kind, body["metadata"]["name"])
        for kind in kinds
        for body in world.cluster.find(kind, "default")
    ]


def test_the_account_is_bound_to_the_role_of_the_installation_alone(world: World) -> None:
    world.settle()
    bound = ("RoleBinding", world.settings.runtime_role)
    assert access(world) == [("ServiceAccount", "edge-runtime"), bound]
    world.settings = dataclasses.replace(world.settings, runtime_role="other-edge-runtime")
    world.reconcile_namespace()
    assert access(world) == [("ServiceAccount", "edge-runtime"), ("RoleBinding", "other-edge-runtime")]
    made = world.log.index("apply RoleBinding other-edge-runtime")
    assert made < world.log.index("delete RoleBinding edge-intelligence-edge-runtime")


def test_a_runtime_goes_with_the_last_service_at_its_node(world: World) -> None:
    world.settle()
    second = Second(world, entryNodes={"nodeSelector": {"class": "camera"}})
    second.reconcile()
    second.delete()
    assert world.deployments() == NODES
    assert world.cluster.get(SERVICES, "default", "edge-runtime-gate") is not None
    third = Second(world, "third", entryNodes={"nodeSelector": {"class": "gateway"}})
    third.reconcile()
    first = world.service()
    deleted = {"deletionTimestamp": world.clock().wall().isoformat()}
    world.cluster.put(first | {"metadata": first["metadata"] | deleted})
    world.reconcile()
    assert world.deployments() == ["edge-runtime-gate"]
    assert access(world) == [("ServiceAccount", "edge-runtime"), ("RoleBinding", world.settings.runtime_role)]
    third.delete()
    assert world.deployments() == []
    assert access(world) == []


def test_a_runtime_whose_services_vanished_while_the_operator_was_away_is_removed(world: World) -> None:
    world.settle()
    for body in (*world.cluster.find(INFERENCE_SERVICES), *world.cluster.find(PLACEMENTS)):
        del world.cluster.objects[body["kind"], "default", body["metadata"]["name"]]
    world.restart()
    world.reconcile_namespace()
    assert world.deployments() == []


def test_what_the_api_server_refuses_is_in_the_condition_and_the_other_nodes_get_their_runtime(
    world: World,
) -> None:
    metadata = {"name": NODES[0], "namespace": "default"}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    world.cluster.put(theirs)
    world.reconcile()
    world.reconcile()
    placed = world.condition("Placed")
    assert (placed["status"], placed["reason"]) == ("False", "ObjectRefused")
    assert f"Deployment default/{NODES[0]}" in placed["message"]
    assert world.deployments() == NODES
    del world.cluster.objects["Deployment", "default", NODES[0]]
    world.reconcile()
    world.reconcile()
    assert world.condition("Placed")["status"] == "True"


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"requests": {"cpu": "0.5"}}, {"requests": {"cpu": "500m"}}),
        ({"requests": {"cpu": 1}}, {"requests": {"cpu": "1"}}),
        ({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}),
        ({"limits": {"memory": "1e9"}}, {"limits": {"memory": "1G"}}),
    ],
)
def test_equal_amounts_in_another_spelling_are_not_applied_again(
    world: World, wanted: Any, live: Any
) -> None:
    world.settings = _with_resources(world, wanted)
    world.settle()
    for body in world.cluster.find(DEPLOYMENTS):
        body["spec"]["template"]["spec"]["containers"][0]["resources"] = live
        world.cluster.put(body)
    del world.log[:]
    world.reconcile()
    assert not [line for line in world.log if line.startswith("apply")]


def test_other_amounts_are_applied(world: World) -> None:
    world.settings = _with_resources(world, {"requests": {"cpu": "500m"}})
    world.settle()
    world.settings = _with_resources(world, {"requests": {"cpu": "501m"}})
    world.reconcile()
    assert "apply Deployment edge-runtime-gate" in world.log[-4:]


def _with_resources(world: World, resources: Any) -> Any:
    return dataclasses.replace(world.settings, runtime_resources=resources)


@pytest.mark.parametrize("serving", [False, True])
def test_a_refused_certificate_is_reported_and_its_runtimes_are_reconciled_all_the_same(
    world: World, serving: bool
) -> None:
    world.settle()
    world.cluster.delete(SERVICES, "default", "edge-runtime-gate")
    memory = NamespaceMemory()
    said = "Secret default/edge-runtime-tls: belongs to something other than this operator"
    given = "default", world.cluster, world.settings, memory, world.clock()
    changed, again = reconcile_namespace(*given, uncertified=Uncertified(said, serving=serving))
    assert world.cluster.get(SERVICES, "default", "edge-runtime-gate") is not None
    assert changed == {"digits"}
    assert again is not None
    refused, notes, _ = memory.findings.concerning("digits")
    assert (said in refused, said in notes) == (not serving, serving), "a valid certificate blocks nothing"
    changed, _ = reconcile_namespace(*given)
    assert changed == {"digits"}
    assert memory.findings.concerning("digits") == ((), (), RUNTIMES_CURRENT)
