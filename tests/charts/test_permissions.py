"""The chart grants exactly the permissions that the operator uses."""

import dataclasses
import importlib.util
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_operator.authority.provision import AUTHORITY_SECRET, TRUST_CONFIG_MAP
from edge_operator.authority.upkeep import OPERATOR_SECRET, STORE_SECRET, Upkeep
from edge_operator.authority.webhook_trust import SECRET as ADMISSION_SECRET
from edge_operator.cluster import DEVICE_POOLS, KINDS, TENANTS, Kind, Object
from edge_operator.explaining.replanning import READ, pools_role, view_role
from edge_operator.installation import identified
from edge_operator.leadership import Leadership
from edge_operator.loops.protections import Protected, protect
from edge_operator.nodes.access import own_access
from edge_operator.nodes.network_policies import ALLOW, DENY
from edge_operator.nodes.peers import PEER_SECRET
from edge_operator.nodes.runtimes import Runtime
from edge_operator.observed.watched import WATCHED
from edge_operator.settings import Allowed, Settings
from messages import mentions
from operator_objects import CARD

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]
Use = tuple[str, str]
CHART = Path(__file__).parents[2] / "charts" / "edge-intelligence"
RUNTIME_ROLE = "edge-intelligence-edge-runtime"
SETTINGS = Settings("http://store.test:8080", "edge-runtime:test")
PEOPLES_ROLES = (view_role(SETTINGS), pools_role(SETTINGS), "edge-intelligence-edge-edit")

GIVEN_ON: set[Use] = {
    # To bind the runtimes' ClusterRole, without the permissions of which only its holders could.
    ("bind", "clusterroles"),
    # Roles of earlier versions, each of one service.
    ("delete", "roles"),
    # With OwnerReferencesPermissionEnforcement, to block the deletion of an owner.
    ("update", "inferenceservices/finalizers"),
    # To write caBundle of the chart's own admission webhook, which it never creates (test_admission).
    ("get", "validatingwebhookconfigurations"),
    ("patch", "validatingwebhookconfigurations"),
}
GIVEN_WITH_ROLES: set[Use] = {
    # What the operator grants to runtimes, it must hold.
    ("patch", "placements/status"),
}
KOPF: set[Use] = {("list", "customresourcedefinitions"), ("watch", "customresourcedefinitions")}


@pytest.fixture(scope="module")
def operator_tests() -> ModuleType:
    path = Path(__file__).parents[1] / "operator" / "conftest.py"
    spec = importlib.util.spec_from_file_location("operator_worlds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recording:
    """A cluster that records the permission that each call needs. Its reads are those of the mirror."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.uses: set[Use] = set()

    def fetch(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        found: Object | None = self._used({("get", kind.plural)}).fetch(kind, namespace, name)
        return found

    def apply(self, wanted: Object, seen: Object | None = None, *, unchanged: bool = False) -> Object:
        plural = KINDS[wanted["kind"]].plural
        # Server-side apply creates missing objects.
        uses = {("patch", plural), ("create", plural)}
        applied: Object = self._used(uses).apply(wanted, seen, unchanged=unchanged)
        return applied

    def apply_status(self, kind: Kind, seen: Object, status: Object) -> Object:
        uses = {("patch", f"{kind.plural}/status")}
        applied: Object = self._used(uses).apply_status(kind, seen, status)
        return applied

    def set_finalizers(self, kind: Kind, current: Object, finalizers: list[str]) -> Object:
        changed: Object = self._used({("patch", kind.plural)}).set_finalizers(kind, current, finalizers)
        return changed

    def annotate(self, kind: Kind, current: Object, annotations: Mapping[str, str | None]) -> Object:
        changed: Object = self._used({("patch", kind.plural)}).annotate(kind, current, annotations)
        return changed

    def resize(self, pod: Object, container: str, requests: Mapping[str, str]) -> Object:
        resized: Object = self._used({("patch", "pods/resize")}).resize(pod, container, requests)
        return resized

    def create(self, body: Object) -> Object:
        created: Object = self._used({("create", KINDS[body["kind"]].plural)}).create(body)
        return created

    def replace(self, body: Object) -> Object:
        replaced: Object = self._used({("update", KINDS[body["kind"]].plural)}).replace(body)
        return replaced

    def delete(self, kind: Kind, namespace: str | None, name: str, seen: Object | None = None) -> None:
        self._used({("delete", kind.plural)}).delete(kind, namespace, name, seen)

    def record(self, regarding: Object, event_type: str, reason: str, message: str) -> None:
        self._used({("create", "events"), ("patch", "events")}).record(regarding, event_type, reason, message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def _used(self, uses: set[Use]) -> Any:
        self.uses |= uses
        return self._cluster


@pytest.fixture(scope="module")
def used(operator_tests: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> set[Use]:
    """What the operator does where an admission policy limits runtimes."""
    return life(operator_tests.World(), str(tmp_path_factory.mktemp("tls")))


@pytest.fixture(scope="module")
def used_with_roles(operator_tests: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> set[Use]:
    """What it does where Roles limit them."""
    world = operator_tests.World()
    world.settings = dataclasses.replace(world.settings, status_rights="Roles")
    return life(world, str(tmp_path_factory.mktemp("tls")))


def life(world: Any, folder: str) -> set[Use]:
    """A service's life: measured, published, narrowed, rolled out, failed, deleted; and the watches."""
    world.settings = dataclasses.replace(world.settings, network_policies=Allowed())
    measured = dict(world.store.profiles)
    world.store.profiles.clear()
    unrecorded = world.cluster
    cluster = world.cluster = Recording(unrecorded)
    world.reconcile()
    camera = next(job for job in world.jobs() if "camera" in job["metadata"]["name"])
    for end in ("Failed", "Complete"):
        cluster.put(camera | {"status": {"conditions": [{"type": end, "status": "True"}]}})
        pod = {
            "name": "x",
            "namespace": "edge-intelligence",
            "labels": {"job-name": camera["metadata"]["name"]},
        }
        cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": pod})
        world.reconcile()
    world.store.profiles.update(measured)
    world.settle()
    world.change(entryNodes={"nodeSelector": {"class": "gateway"}})
    world.settle()
    second = "store://digits/second.onnx"
    world.store.cards[second] = CARD.model_copy(update={"digest": "sha256:" + "cd" * 32})
    model = world.service()["spec"]["model"]
    world.change(rollout={}, model={"storageUri": second})
    world.reconcile()
    world.change(rollout=None, model=model)
    for _ in range(3):
        world.reconcile()
    world.start_pods()
    world.add_namespace()
    world.label_namespace()
    world.put_tenant(fairSharing={"weight": 3})
    world.reconcile()
    world.change(devicePool="none")
    world.reconcile()
    body = world.service()
    cluster.put(body | {"metadata": body["metadata"] | {"deletionTimestamp": "2026-03-01T12:00:00Z"}})
    world.reconcile()
    world.end_pods()
    world.reconcile()
    identified(world.settings, cluster, None)
    leadership = Leadership(cluster, world.settings.namespace, "replica")
    leadership.campaign()
    leadership.release()
    world.report_pool()
    world.put_tenant()
    world.settle()
    world.report_tenants()
    for each in (Protected(DEVICE_POOLS, "factory"), Protected(TENANTS, "shop")):
        protect(cluster, each, None)
        unrecorded.delete(each.kind, None, each.name)  # by a user
        protect(cluster, each, None)
    placed = {"default"}
    given = dataclasses.replace(world.settings, tls_dir=folder, issues_certificates=True)
    upkeep = Upkeep(cluster, given, lambda: set(placed))
    upkeep.renew()
    placed.clear()
    upkeep.provide("default")
    reports = {("patch", "placements/status")}  # by the runtimes
    return cluster.uses - reports | watched()


def watched() -> set[Use]:
    """Kinds are watched, listed at times, and an object that a list lacks is read."""
    return {(verb, kind.plural) for kind in WATCHED for verb in ("get", "list", "watch")}


def granted(objects: list[dict[str, Any]]) -> set[Use]:
    """What the operator may do. The model store, the console, runtimes and people have roles of their own."""
    return {
        (verb, resource)
        for body in objects
        if body["kind"] in ("ClusterRole", "Role")
        and not any(part in body["metadata"]["name"] for part in ("model-store", "edge-console"))
        and body["metadata"]["name"] not in (RUNTIME_ROLE, *PEOPLES_ROLES)
        and "helm.sh/hook" not in body["metadata"].get("annotations", {})
        for rule in body["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_what_the_operator_does_is_granted(render: Render, used: set[Use]) -> None:
    missing = (used | KOPF | GIVEN_ON) - granted(render())
    assert missing == set()


def test_what_is_granted_is_used(render: Render, used: set[Use]) -> None:
    assert granted(render()) - (used | KOPF | GIVEN_ON) == set()


def test_with_roles_the_operator_may_write_those_and_holds_what_they_grant(
    render: Render, used: set[Use], used_with_roles: set[Use]
) -> None:
    objects = render("runtime.statusRights=Roles")
    assert used_with_roles - used - GIVEN_ON == {("create", "roles"), ("patch", "roles")}
    assert granted(objects) == used_with_roles | KOPF | GIVEN_ON | GIVEN_WITH_ROLES


def test_the_operator_holds_all_that_it_grants_to_a_runtime(render: Render) -> None:
    objects = render("runtime.statusRights=Roles")
    held = {
        (verb, group, resource)
        for body in objects
        if (body["kind"], body["metadata"]["name"]) == ("ClusterRole", "edge-intelligence-edge-operator")
        for rule in body["rules"]
        if "resourceNames" not in rule
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    _, role, _ = own_access(Runtime("shop", "edge-a"), ["digits.edge-a"])
    assert {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    } <= held
    assert not any(verb == "escalate" for verb, _, _ in held)


Rule = tuple[str, list[str], list[str]]


def rules_of(objects: list[dict[str, Any]], resource: str, *, named: bool = False) -> list[Rule]:
    """named: without rules for all names."""
    return [
        (body["kind"], rule["verbs"], rule["resourceNames"])
        for body in objects
        if body["kind"] in ("ClusterRole", "Role")
        for rule in body["rules"]
        if resource in rule["resources"] and ("resourceNames" in rule or not named)
    ]


def test_only_the_named_secrets_can_be_read_in_the_operators_own_namespace(render: Render) -> None:
    objects = render("operator.tritonControlSecrets={cloud,plant}", "tls.mode=Disabled")
    assert rules_of(objects, "secrets") == [("Role", ["get"], ["cloud", "plant"])]


def test_secrets_and_configmaps_are_written_by_name_alone(render: Render) -> None:
    objects = render()
    assert rules_of(objects, "secrets") == [
        ("ClusterRole", ["get", "create", "patch", "delete"], [PEER_SECRET]),
        ("Role", ["get", "create", "patch"], [AUTHORITY_SECRET, OPERATOR_SECRET, STORE_SECRET]),
        ("Role", ["get", "create", "patch"], [ADMISSION_SECRET]),
    ]
    assert rules_of(objects, "configmaps") == [
        ("ClusterRole", ["get", "create", "patch", "delete"], [TRUST_CONFIG_MAP]),
        ("Role", ["get", "create", "patch"], [TRUST_CONFIG_MAP]),
    ]
    assert rules_of(render("tls.mode=Disabled"), "configmaps") == []


def test_only_the_policies_of_its_own_pods_can_be_written(render: Render) -> None:
    rules = rules_of([b for b in render() if b["kind"] == "ClusterRole"], "networkpolicies", named=True)
    assert rules == [("ClusterRole", ["create", "patch", "delete"], [DENY, ALLOW])]


def test_one_watched_namespace_gets_the_only_binding(render: Render) -> None:
    objects = render("operator.watchNamespace=shop")
    bound = {
        body["roleRef"]["name"]: body["metadata"].get("namespace")
        for body in objects
        if body["kind"] in ("RoleBinding", "ClusterRoleBinding")
    }
    assert bound["edge-intelligence-edge-operator"] == "shop"
    assert bound["edge-intelligence-edge-operator-cluster"] is None
    cluster_wide = next(
        b for b in objects if b["metadata"]["name"] == "edge-intelligence-edge-operator-cluster"
    )
    resources = {resource for rule in cluster_wide["rules"] for resource in rule["resources"]}
    expected = {
        *("devicepools", "devicepools/status", "tenants", "tenants/status"),
        *("nodes", "customresourcedefinitions", "namespaces"),
    }
    assert resources == expected


@pytest.mark.parametrize(
    ("value", "version", "rights"),
    [
        ("Auto", "1.34.2", "Policy"),
        ("Auto", "1.30.0", "Policy"),
        ("Auto", "1.30.0-rc.1", "Policy"),
        ("Auto", "1.29.9", "Roles"),
        ("Policy", "1.34.2", "Policy"),
        ("Roles", "1.34.2", "Roles"),
        ("Namespace", "1.34.2", "Namespace"),
    ],
)
def test_a_policy_limits_runtimes_to_their_node_where_the_api_server_has_policies_else_roles(
    render: Render, value: str, version: str, rights: str
) -> None:
    objects = render(f"runtime.statusRights={value}", version=version)
    admission = [
        body["kind"]
        for body in objects
        if body["apiVersion"].startswith("admissionregistration") and "Policy" in body["kind"]
    ]
    made = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
    assert sorted(admission) == (made if rights == "Policy" else [])
    assert (("create", "roles") in granted(objects)) is (rights == "Roles")
    assert (("patch", "placements/status") in granted(objects)) is (rights == "Roles")
    assert operator_settings(objects).status_rights == rights


def test_a_policy_that_the_cluster_cannot_have_is_refused(helm: Helm) -> None:
    arguments = ("template", "test", str(CHART), "--kube-version", "1.29.9")
    done = helm(*arguments, "--set", "runtime.statusRights=Policy")
    assert done.returncode != 0
    assert mentions("runtime.statusRights", '"Policy"', "1.30", "v1.29.9", "Roles").search(done.stderr)


def test_runtimes_may_read_placements_and_report_on_them_and_nothing_else(render: Render) -> None:
    role = next(
        body for body in render() if (body["kind"], body["metadata"]["name"]) == ("ClusterRole", RUNTIME_ROLE)
    )
    assert role["rules"] == [
        {
            "apiGroups": ["edge-intelligence.io"],
            "resources": ["placements"],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": ["edge-intelligence.io"], "resources": ["placements/status"], "verbs": ["patch"]},
    ]


def operator_settings(objects: list[dict[str, Any]]) -> Settings:
    operator = next(
        body
        for body in objects
        if (body["kind"], body["metadata"]["name"]) == ("Deployment", "edge-operator")
    )
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    return Settings.from_environment({v["name"]: v.get("value", "x") for v in container["env"]})


def test_the_operator_writes_no_roles_and_binds_only_that_of_the_runtimes(render: Render) -> None:
    objects = render()
    written = {verb for verb, resource in granted(objects) if resource in ("roles", "clusterroles")}
    assert written == {"get", "list", "watch", "bind", "delete"}
    (bound,) = (
        rule["resourceNames"]
        for body in objects
        if body["kind"] == "ClusterRole"
        for rule in body["rules"]
        if "bind" in rule["verbs"]
    )
    assert bound == [operator_settings(objects).runtime_role] == [RUNTIME_ROLE]


def _role(objects: list[dict[str, Any]], name: str) -> tuple[set[str], set[Use]]:
    """The roles of Kubernetes that include a role, and what it grants."""
    body = next(b for b in objects if (b["kind"], b["metadata"]["name"]) == ("ClusterRole", name))
    labels = {name for name, value in body["metadata"]["labels"].items() if value == "true"}
    uses = {
        (verb, plural) for rule in body["rules"] for plural in rule["resources"] for verb in rule["verbs"]
    }
    return {label.removeprefix("rbac.authorization.k8s.io/aggregate-to-") for label in labels}, uses


def test_the_roles_of_a_namespace_let_people_read_its_objects_and_write_services(render: Render) -> None:
    objects, kinds = render(), ("inferenceservices", "modelprofiles", "placements")
    reads = {(verb, plural) for verb in ("get", "list", "watch") for plural in kinds}
    assert _role(objects, "edge-intelligence-edge-view") == ({"view"}, reads)
    into, writes = _role(objects, "edge-intelligence-edge-edit")
    assert into == {"edit"}
    assert {plural for _, plural in writes} == {"inferenceservices"}
    assert {verb for verb, _ in writes} >= {"create", "update", "patch", "delete"}


def test_what_explain_reads_is_granted_by_the_roles_that_it_names(render: Render) -> None:
    objects = render()
    namespaced, of_cluster = (_role(objects, name(SETTINGS))[1] for name in (view_role, pools_role))
    for kind in READ:
        assert {("get", kind.plural), ("list", kind.plural)} <= (
            namespaced if kind.namespaced else of_cluster
        )
    bound = {b["roleRef"]["name"] for b in objects if b["kind"] in ("RoleBinding", "ClusterRoleBinding")}
    assert not bound & set(PEOPLES_ROLES)


def test_no_rule_has_a_wildcard(render: Render) -> None:
    assert not any("*" in use for use in granted(render()))


def test_without_fetching_the_operator_creates_no_jobs_in_namespaces_of_services(render: Render) -> None:
    def verbs(*settings: str) -> set[str]:
        return {
            verb
            for body in render(*settings)
            if (body["kind"], body["metadata"]["name"]) == ("ClusterRole", "edge-intelligence-edge-operator")
            for rule in body["rules"]
            if "jobs" in rule["resources"]
            for verb in rule["verbs"]
        }

    assert verbs() == {"get", "list", "watch", "create", "patch", "delete"}
    assert verbs("store.fetching.enabled=false") == {"get", "list", "watch"}
    assert not operator_settings(render("store.fetching.enabled=false")).fetching.enabled
    assert operator_settings(render("store.allowInternal={10.1.0.0/16}")).fetching.allow_internal == (
        "10.1.0.0/16",
    )
