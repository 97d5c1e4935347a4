"""CRDs that no Helm release owns become objects of one, with the schemas of this version."""

import json
from typing import Any

import pytest

from edge_api.kinds import KINDS
from edge_api.objects import GROUP
from edge_api.schemas import definition
from edge_operator.cluster import CRDS, ApiServer, Kind, Object
from edge_operator.crd_adoption import adopt
from edge_operator.errors import ClusterError

NAMES = sorted(f"{kind.resource.plural}.{GROUP}" for kind in KINDS.values())
TENANTS = f"tenants.{GROUP}"


class Definitions:
    """Holds CRDs, and what was taken over."""

    def __init__(self, *names: str) -> None:
        self.objects = {
            name: {"metadata": {"name": name, "resourceVersion": "7"}, "spec": {}} for name in names
        }
        self.taken: list[tuple[Object, Object, str]] = []

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        assert (kind, namespace) == (CRDS, None)
        return self.objects.get(name)

    def take_over(self, wanted: Object, current: Object, manager: str) -> None:
        self.taken.append((wanted, current, manager))


def test_a_crd_gets_this_versions_schema_and_the_marks_of_the_release() -> None:
    cluster = Definitions(*NAMES)
    assert adopt(cluster, NAMES, "edge", "operations") == NAMES
    assert [wanted["metadata"]["name"] for wanted, _, _ in cluster.taken] == NAMES
    assert {manager for _, _, manager in cluster.taken} == {"helm"}
    wanted = next(wanted for wanted, _, _ in cluster.taken if wanted["metadata"]["name"] == TENANTS)
    assert wanted["spec"] == definition(KINDS["Tenant"])["spec"]
    assert wanted["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert wanted["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "meta.helm.sh/release-name": "edge",
        "meta.helm.sh/release-namespace": "operations",
    }


def test_a_crd_that_is_gone_is_left_to_the_next_upgrade() -> None:
    cluster = Definitions(NAMES[0])
    assert adopt(cluster, NAMES[:2], "edge", "operations") == NAMES[:1]


def test_crds_of_others_are_refused() -> None:
    with pytest.raises(ClusterError, match=f'"certificates.cert-manager.io".*{TENANTS}'):
        adopt(Definitions(), ["certificates.cert-manager.io"], "edge", "operations")


class Response:
    def __init__(self, body: Any) -> None:
        self.status, self._body = 200, body

    def read(self) -> bytes:
        return json.dumps(self._body).encode()


class Client:
    """Records requests; returns an object that two managers applied fields of."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def param_serialize(self, method: str, path: str, **more: Any) -> tuple[dict[str, Any]]:
        return ({"method": method, "path": path, **more},)

    def call_api(self, request: dict[str, Any], **_: Any) -> Response:
        self.sent.append(request)
        managers = [
            {"manager": "helm", "operation": "Apply"},
            {"manager": "helm", "operation": "Update"},
            {"manager": "kube-apiserver", "operation": "Update", "subresource": "status"},
        ]
        return Response(
            {"metadata": {"name": TENANTS, "uid": "1", "resourceVersion": "2", "managedFields": managers}}
        )


def test_the_release_becomes_the_only_manager_so_that_later_applies_do_not_conflict() -> None:
    client: Any = Client()
    current = {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": TENANTS, "resourceVersion": "7", "labels": {"team": "edge"}},
        "spec": {"removed": True},
        "status": {"storedVersions": ["v1alpha1"]},
    }
    wanted = {"metadata": {"name": TENANTS, "labels": {"a": "b"}}, "spec": {"group": GROUP}}
    ApiServer(client).take_over(wanted, current, "helm")
    put, apply, managers = client.sent
    assert {request["path"] for request in client.sent} == {
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{TENANTS}"
    }
    assert (put["method"], put["body"]["spec"]) == ("PUT", {"group": GROUP})
    assert put["body"]["metadata"]["resourceVersion"] == "7"
    assert put["body"]["metadata"]["labels"] == {"team": "edge", "a": "b"}
    assert (apply["method"], apply["body"]) == ("PATCH", wanted)
    assert ("fieldManager", "helm") in apply["query_params"]
    assert [
        (each["manager"], each["operation"]) for each in managers["body"]["metadata"]["managedFields"]
    ] == [("helm", "Apply"), ("kube-apiserver", "Update")]
