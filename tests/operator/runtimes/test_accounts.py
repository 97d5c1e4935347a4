"""Where no policy compares nodes, each runtime has an account that can report on its own node alone."""

import dataclasses
from typing import Any

import pytest

from edge_operator.cluster import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    PLACEMENTS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Object,
)
from edge_operator.errors import ClusterError, ObjectRefusedError
from edge_operator.installation import identified
from edge_operator.nodes.access import accounts_in_use, own_access
from edge_operator.nodes.runtimes import Runtime
from messages import mentions

World = Any  # tests/operator/conftest.py
NODES = ("cam-1", "cam-2", "gate")
NAMES = [f"edge-runtime-{node}" for node in NODES]
READ = {"apiGroups": ["edge-intelligence.io"], "resources": ["placements"], "verbs": ["get", "list", "watch"]}


@pytest.fixture
def roles(world: World) -> World:
    """A world without admission policies."""
    choose(world, "Roles")
    return world


def choose(world: World, rights: str) -> None:
    world.settings = dataclasses.replace(world.settings, status_rights=rights)


def names(world: World, *kinds: Any) -> list[str]:
    return sorted(body["metadata"]["name"] for kind in kinds for body in world.cluster.find(kind, "default"))


def reports_on(world: World, runtime: str) -> list[str]:
    """The Placements whose status the account of a runtime can write."""
    role = world.cluster.get(ROLES, "default", runtime)
    assert role["rules"][0] == READ
    (rule,) = role["rules"][1:]
    assert (rule["resources"], rule["verbs"]) == (["placements/status"], ["patch"])
    found: list[str] = rule["resourceNames"]
    return found


def account(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"]["serviceAccountName"])


def accounts(world: World) -> dict[str, str]:
    """The account of each runtime's next pod."""
    return {body["metadata"]["name"]: account(body) for body in world.cluster.find(DEPLOYMENTS, "default")}


def add(world: World, name: str, **spec: Any) -> None:
    body = world.service()
    meta = {"name": name, "namespace": "default"}
    world.cluster.put(body | {"metadata": meta, "spec": body["spec"] | spec, "status": {}})
    world.plan()
    world.reconcile_namespace()


def delete(world: World, name: str) -> None:
    body = world.cluster.get(INFERENCE_SERVICES, "default", name)
    deleted = {"deletionTimestamp": world.clock().wall().isoformat()}
    world.cluster.put(body | {"metadata": body["metadata"] | deleted})
    world.plan()
    world.reconcile_namespace()


def roll_out(world: World) -> None:
    """New accounts are made, then new pods replace those before, node by node, each after a time."""
    for _ in range(3 * len(NODES) + 2):
        world.start_pods()
        world.reconcile_namespace()
        world.now += 60


def test_the_account_of_a_runtime_can_report_on_the_placements_of_its_node_alone(roles: World) -> None:
    roles.settle()
    assert accounts(roles) == {name: name for name in NAMES}
    assert names(roles, SERVICE_ACCOUNTS) == names(roles, ROLES) == names(roles, ROLE_BINDINGS) == NAMES
    assert {name: reports_on(roles, name) for name in NAMES} == {
        f"edge-runtime-{node}": [f"digits.{node}"] for node in NODES
    }
    binding = roles.cluster.get(ROLE_BINDINGS, "default", "edge-runtime-gate")
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", "edge-runtime-gate")
    assert [(s["name"], s["namespace"]) for s in binding["subjects"]] == [("edge-runtime-gate", "default")]


def test_a_role_follows_the_placements_of_its_node_and_no_pod_is_replaced(roles: World) -> None:
    roles.settle()
    before = roles.cluster.find(DEPLOYMENTS)
    add(roles, "letters", entryNodes={"nodeSelector": {"class": "gateway"}})
    assert reports_on(roles, "edge-runtime-gate") == ["digits.gate", "letters.gate"]
    assert reports_on(roles, "edge-runtime-cam-1") == ["digits.cam-1"]
    delete(roles, "letters")
    assert reports_on(roles, "edge-runtime-gate") == ["digits.gate"]
    assert roles.cluster.find(DEPLOYMENTS) == before


def test_placements_of_another_namespace_are_not_in_the_role(roles: World) -> None:
    roles.add_namespace("lab-1", name="letters")
    roles.settle()
    assert any(body["metadata"]["namespace"] == "lab-1" for body in roles.cluster.find(PLACEMENTS))
    assert reports_on(roles, "edge-runtime-gate") == ["digits.gate"]


def test_a_dedicated_runtime_has_an_account_of_its_own(roles: World) -> None:
    roles.change(isolation="Dedicated")
    roles.settle()
    add(roles, "letters")
    found = accounts(roles)
    assert len(found) == 6
    assert all(name == own for name, own in found.items())
    (dedicated,) = (name for name in found if name.startswith("edge-runtime-digits-gate"))
    assert reports_on(roles, dedicated) == ["digits.gate", "letters.gate"]


def test_runtimes_keep_their_accounts_while_clients_move_from_them(roles: World) -> None:
    roles.settle()
    roles.start_pods()
    roles.change(isolation="Dedicated")
    roles.reconcile()
    roles.reconcile()
    assert len(roles.deployments()) == 6
    assert names(roles, SERVICE_ACCOUNTS) == names(roles, ROLES) == roles.deployments()
    for _ in range(8):
        roles.now += 6
        roles.start_pods()
        roles.runtimes_report()
        roles.reconcile()
    assert not set(NAMES) & set(roles.deployments())
    assert set(NAMES) < set(names(roles, SERVICE_ACCOUNTS)), "their last pods have not ended"
    roles.end_pods(*NAMES)
    roles.reconcile_namespace()
    assert names(roles, SERVICE_ACCOUNTS) == names(roles, ROLES) == roles.deployments()


def test_an_account_goes_with_its_runtime(roles: World) -> None:
    roles.settle()
    roles.change(entryNodes={"nodeSelector": {"class": "gateway"}})
    roles.settle()
    assert names(roles, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS) == ["edge-runtime-gate"] * 3
    delete(roles, "digits")
    assert names(roles, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS) == []


def test_an_account_outlives_its_runtime_until_the_last_pod_has_ended(roles: World) -> None:
    roles.settle()
    roles.start_pods()
    delete(roles, "digits")
    assert roles.deployments() == []
    assert names(roles, SERVICE_ACCOUNTS) == NAMES
    roles.end_pods("edge-runtime-gate")
    assert roles.reconcile_namespace() == 5.0
    assert names(roles, SERVICE_ACCOUNTS, ROLES) == sorted(2 * NAMES[:2])
    roles.end_pods()
    assert roles.reconcile_namespace() is None
    assert names(roles, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS) == []


def test_a_settled_namespace_is_written_no_more(roles: World) -> None:
    roles.settle()
    roles.start_pods()
    roles.reconcile_namespace()
    del roles.log[:]
    assert roles.reconcile_namespace() is None
    assert roles.log == []


def test_the_shared_account_reports_until_its_last_pod_is_replaced(world: World) -> None:
    world.settle()
    world.start_pods()
    choose(world, "Roles")
    world.reconcile_namespace()
    assert set(accounts(world).values()) == {"edge-runtime"}, "no pod is replaced before its account exists"
    done = []
    for name in NAMES:
        assert world.reconcile_namespace() == 5.0
        done.append(name)
        assert [each for each, own in accounts(world).items() if own == each] == done
        assert "edge-runtime" in names(world, SERVICE_ACCOUNTS)
        assert world.settings.runtime_role in names(world, ROLE_BINDINGS)
        world.start_pods()
        world.reconcile_namespace()
        assert "edge-runtime" in names(world, SERVICE_ACCOUNTS), "the version before may have to return"
        world.now += 60
    world.reconcile_namespace()
    assert world.reconcile_namespace() is None
    assert names(world, SERVICE_ACCOUNTS) == names(world, ROLE_BINDINGS) == NAMES


def test_own_accounts_stay_until_pods_with_the_shared_one_replace_them(roles: World) -> None:
    roles.settle()
    roles.start_pods()
    choose(roles, "Policy")
    roles.reconcile_namespace()
    shared = [roles.settings.runtime_role, "edge-runtime"]
    assert set(names(roles, SERVICE_ACCOUNTS, ROLE_BINDINGS)) == {*NAMES, *shared}
    roll_out(roles)
    assert set(accounts(roles).values()) == {"edge-runtime"}
    assert names(roles, ROLES) == []
    assert names(roles, SERVICE_ACCOUNTS, ROLE_BINDINGS) == shared


def test_pods_that_ended_keep_no_account(world: World) -> None:
    world.settle()
    world.start_pods()
    choose(world, "Roles")
    roll_out(world)
    evicted = world.cluster.objects["Pod", "default", "edge-runtime-gate-x"]
    spec, meta = {"serviceAccountName": "edge-runtime"}, {"name": "evicted", "namespace": "default"}
    meta["labels"] = evicted["metadata"]["labels"]
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Failed"}}
    )
    assert world.reconcile_namespace() is None
    assert names(world, SERVICE_ACCOUNTS) == NAMES


def test_a_pod_that_has_been_given_another_account_is_not_waited_for(roles: World) -> None:
    roles.settle()
    roles.start_pods()
    body = roles.cluster.objects["Pod", "default", "edge-runtime-gate-x"]
    roles.cluster.put(body | {"spec": body["spec"] | {"serviceAccountName": "injected"}})
    assert roles.reconcile_namespace() is None


@pytest.mark.parametrize("kind", ["ServiceAccount", "Role", "RoleBinding"])
def test_pods_that_serve_are_not_replaced_while_their_rights_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    world.settle()
    world.start_pods()
    choose(world, "Roles")
    apply = world.cluster.apply

    def refusing(wanted: Object, seen: Object | None) -> Object:
        if wanted["kind"] == kind:
            raise ObjectRefusedError(f"applying {kind} {wanted['metadata']['name']} failed: forbidden")
        return dict(apply(wanted, seen))

    monkeypatch.setattr(world.cluster, "apply", refusing)
    for _ in range(3):
        world.reconcile()
    assert set(accounts(world).values()) == {"edge-runtime"}
    assert world.condition("Placed")["reason"] == "ObjectRefused"
    assert mentions(kind, "edge-runtime-cam-1", "forbidden").search(world.condition("Placed")["message"])
    monkeypatch.undo()
    roll_out(world)
    assert accounts(world) == {name: name for name in NAMES}


def test_a_role_for_no_placement_allows_no_report() -> None:
    _, role, _ = own_access(Runtime("default", "gate"), ())
    assert role["rules"] == [READ]


def test_pods_of_deployments_count_before_they_exist() -> None:
    template = {"spec": {"template": {"spec": {"serviceAccountName": "next"}}}}
    ending = {
        "spec": {"serviceAccountName": "last"},
        "metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"},
    }
    assert accounts_in_use([template], [ending]) == {"next", "last"}


@pytest.mark.parametrize(
    ("given", "version", "policies", "found"),
    [
        ("Auto", (1, 29), False, "Roles"),
        ("Auto", (1, 30), True, "Policy"),
        ("Auto", (1, 34), False, "Roles"),
        ("Auto", (1, 29), True, "Roles"),
        ("Policy", (1, 30), True, "Policy"),
        ("Roles", (1, 34), True, "Roles"),
        ("Namespace", (1, 29), False, "Namespace"),
    ],
)
def test_the_rights_follow_from_what_the_api_server_has(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    version: tuple[int, int],
    policies: bool,
    found: str,
) -> None:
    serve(world, monkeypatch, version, policies=policies)
    choose(world, given)
    assert identified(world.settings, world.cluster, None).status_rights == found


def test_a_policy_that_the_api_server_cannot_have_is_an_error_that_says_what_to_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world, monkeypatch, (1, 29), policies=False)
    choose(world, "Policy")
    said = mentions("EDGE_STATUS_RIGHTS", '"Policy"', "1.29", "runtime.statusRights", "Roles")
    with pytest.raises(ClusterError, match=said):
        identified(world.settings, world.cluster, None)


def serve(world: World, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], *, policies: bool) -> None:
    monkeypatch.setattr(world.cluster, "version", lambda: version)
    monkeypatch.setattr(
        world.cluster, "serves", lambda kind: policies and kind.plural == "validatingadmissionpolicies"
    )
