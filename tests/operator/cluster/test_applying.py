"""When an object is applied again, and the requests to the API server."""

import json
from typing import Any

import pytest

from edge_operator.cluster import (
    ADMISSION_POLICIES,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    LEASES,
    PLACEMENTS,
    WRITE,
    ApiServer,
)
from edge_operator.errors import (
    ApiUnreachableError,
    NotLeadingError,
    ObjectRefusedError,
    PermissionDeniedError,
    WriteConflictError,
)
from edge_operator.versions import covers
from messages import mentions


class Recorder:
    """Replaces kubernetes' ApiClient: records the request and returns a given response."""

    def __init__(self, status: int = 200, answer: Any = None) -> None:
        self.status, self.answer = status, answer
        self.requests: list[tuple[Any, ...]] = []
        self.timeouts: list[Any] = []

    def param_serialize(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return (*args, kwargs)

    def call_api(self, *request: Any, **more: Any) -> "Recorder":
        self.requests.append(request)
        self.timeouts.append(more["_request_timeout"])
        return self

    def read(self) -> bytes:
        return json.dumps(self.answer if self.answer is not None else {}).encode()


def _server(client: Recorder) -> ApiServer:
    return ApiServer(client)  # type: ignore[arg-type]


def test_defaults_of_the_api_server_need_no_new_apply() -> None:
    wanted = {"spec": {"ports": [{"name": "http", "port": 8080}]}}
    live = {"spec": {"ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "clusterIP": "10.96.0.7"}}
    assert covers(live, wanted)


@pytest.mark.parametrize(
    "live",
    [
        None,
        {"spec": {}},
        {"spec": {"ports": []}},
        {"spec": {"ports": [{"name": "http", "port": 80}]}},
        {"spec": {"ports": [{"name": "http", "port": 8080}, {"name": "more", "port": 1}]}},
    ],
)
def test_what_another_client_changed_is_applied_again(live: Any) -> None:
    assert not covers(live, {"spec": {"ports": [{"name": "http", "port": 8080}]}})


@pytest.mark.parametrize(
    ("live", "wanted", "equal"),
    [
        ("500m", "0.5", True),
        ("1", 1, True),
        ("1Gi", "1024Mi", True),
        ("1G", "1e9", True),
        ("500m", "0.6", False),
        ("1G", "1Gi", False),
    ],
)
def test_amounts_of_resources_are_compared_by_their_number(live: str, wanted: object, *, equal: bool) -> None:
    assert (
        covers({"limits": {"cpu": live, "memory": "1Gi"}}, {"limits": {"cpu": wanted, "memory": "1Gi"}})
        is equal
    )
    assert covers({"name": "1"}, {"name": "1.0"}) is False


@pytest.mark.parametrize(
    ("answer", "version"),
    [({"major": "1", "minor": "34"}, (1, 34)), ({"major": "1", "minor": "31+"}, (1, 31)), ({}, (0, 0))],
)
def test_the_version_of_the_api_server_is_read_whatever_its_vendor_adds(
    answer: Any, version: tuple[int, int]
) -> None:
    assert _server(Recorder(answer=answer)).version() == version


def test_a_kind_is_found_by_the_resources_of_its_group_and_version() -> None:
    resources = [{"name": "validatingadmissionpolicies"}, {"name": "validatingadmissionpolicies/status"}]
    client = Recorder(answer={"resources": resources})
    assert _server(client).serves(ADMISSION_POLICIES)
    assert client.requests[0][:2] == ("GET", "/apis/admissionregistration.k8s.io/v1")
    assert not _server(Recorder(answer={"resources": resources[1:]})).serves(ADMISSION_POLICIES)
    assert not _server(Recorder(status=404)).serves(ADMISSION_POLICIES)


def test_an_apply_is_server_side_under_the_operators_name() -> None:
    client = Recorder(answer={"kind": "Placement"})
    body = {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "Placement",
        "metadata": {"name": "digits-edge-a", "namespace": "default"},
    }
    _server(client).apply(body, {"metadata": {"uid": "u1", "resourceVersion": "7"}})
    method, path, options = client.requests[0]
    assert (method, path) == (
        "PATCH",
        "/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements/digits-edge-a",
    )
    sent = [("fieldManager", "edge-operator"), ("force", "true"), ("timeout", f"{WRITE:g}s")]
    assert options["query_params"] == sent
    assert options["header_params"]["Content-Type"] == "application/apply-patch+yaml"


def test_a_first_apply_takes_nothing_from_an_object_that_was_not_seen() -> None:
    client = Recorder(answer={"kind": "Service"})
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "digits", "namespace": "shop"}}
    _server(client).apply(body)
    assert ("force", "false") in client.requests[0][2]["query_params"]


def test_a_status_is_written_to_its_subresource_only() -> None:
    client = Recorder()
    seen = {"metadata": {"name": "factory", "uid": "u1", "resourceVersion": "7", "generation": 2}}
    _server(client).apply_status(DEVICE_POOLS, seen, {"nodeCount": 3})
    _, path, options = client.requests[0]
    assert path == "/apis/edge-intelligence.io/v1alpha1/devicepools/factory/status"
    assert options["body"]["metadata"] == {"name": "factory", "uid": "u1", "resourceVersion": "7"}
    assert options["body"]["status"] == {"nodeCount": 3}


def test_an_apply_is_for_the_version_that_was_seen() -> None:
    client = Recorder(answer={})
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "shop"}}
    seen = {"metadata": {"name": "x", "uid": "u1", "resourceVersion": "7"}}
    server = _server(client)
    server.apply(body)
    server.apply(body, seen)
    sent = [options["body"]["metadata"] for *_, options in client.requests]
    named = {"name": "x", "namespace": "shop"}
    assert sent == [named, named | {"uid": "u1", "resourceVersion": "7"}]


def test_an_annotation_is_for_the_version_that_was_seen() -> None:
    client = Recorder(answer={})
    seen = {"metadata": {"name": "x", "namespace": "shop", "uid": "u1", "resourceVersion": "7"}}
    _server(client).annotate(PLACEMENTS, seen, {"links": None})
    expected = {"uid": "u1", "resourceVersion": "7", "annotations": {"links": None}}
    assert client.requests[0][2]["body"] == {"metadata": expected}


def test_a_write_begins_only_if_it_may_for_as_long_as_it_can_take() -> None:
    client, allowed = Recorder(answer={}), list[float]()

    def may_write(seconds: float) -> None:
        allowed.append(seconds)
        if len(allowed) > 1:
            raise NotLeadingError("another replica leads")

    server = _server(client).fenced(may_write)
    server.get(PLACEMENTS, "default", "x")
    server.delete(PLACEMENTS, "default", "x")
    assert allowed == [WRITE]
    with pytest.raises(NotLeadingError):
        server.delete(PLACEMENTS, "default", "x")
    assert [request[0] for request in client.requests] == ["GET", "DELETE"]
    assert client.timeouts[1] == WRITE


def test_requests_of_the_election_have_a_time_of_their_own() -> None:
    client = Recorder(answer={})
    server = _server(client).within(3.0)
    server.get(LEASES, "edge-intelligence", "edge-operator")
    lease = {"kind": "Lease", "metadata": {"name": "edge-operator", "namespace": "edge-intelligence"}}
    server.replace(lease)
    assert client.timeouts == [3.0, 3.0]
    assert ("timeout", "3s") in client.requests[1][2]["query_params"]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (409, "uid mismatch: the provided object specified uid u1, and no existing object was found"),
        (409, "Operation cannot be fulfilled: the object has been modified"),
        (422, 'Placement "x" is invalid: metadata.uid: Invalid value: "u1": field is immutable'),
    ],
)
def test_an_object_that_was_created_again_or_changed_is_a_conflict(status: int, said: str) -> None:
    client = Recorder(status=status, answer={"message": said})
    body = {"apiVersion": "v1", "kind": "Placement", "metadata": {"name": "x", "namespace": "shop"}}
    with pytest.raises(WriteConflictError, match=mentions("Placement shop/x")):
        _server(client).apply(body, {"metadata": {"uid": "u1", "resourceVersion": "7"}})


def test_a_deletion_is_of_the_version_that_was_seen() -> None:
    client = Recorder()
    seen = {"metadata": {"name": "x", "uid": "u1", "resourceVersion": "7"}}
    _server(client).delete(PLACEMENTS, "default", "x", seen)
    _server(client).delete(PLACEMENTS, "default", "x")
    bodies = [options["body"] for *_, options in client.requests]
    assert [body.get("preconditions") for body in bodies] == [{"uid": "u1", "resourceVersion": "7"}, None]
    assert all(body["propagationPolicy"] == "Background" for body in bodies)


def test_a_finalizer_is_set_only_on_the_object_that_was_read() -> None:
    client = Recorder(status=409, answer={"message": "the object has been modified"})
    body = {"metadata": {"name": "digits", "namespace": "default", "resourceVersion": "7"}}
    with pytest.raises(WriteConflictError, match="has been modified"):
        _server(client).set_finalizers(INFERENCE_SERVICES, body, ["x"])
    assert client.requests[0][2]["body"]["metadata"]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (422, ObjectRefusedError),
        (403, ObjectRefusedError),
        (500, ApiUnreachableError),
        (429, ApiUnreachableError),
    ],
)
def test_a_refusal_says_what_was_tried_and_what_the_server_said(status: int, error: type[Exception]) -> None:
    client = Recorder(status=status, answer={"message": "spec.routes: too many"})
    with pytest.raises(error, match=mentions("Placement default/x", "spec.routes: too many")):
        _server(client).get(PLACEMENTS, "default", "x")


@pytest.mark.parametrize(
    ("status", "said", "fix"),
    [
        (
            403,
            "exceeded quota: tight, requested: pods=1, limited: pods=2",
            "raise the ResourceQuota",
        ),
        (403, "unable to create new content in namespace shop because it is being terminated", "another one"),
        (403, 'placements is forbidden: User "edge" cannot create resource', "the chart's roles"),
        (403, 'violates PodSecurity "restricted:latest": runAsNonRoot != true', "pod-security.kubernetes.io"),
        (400, 'admission webhook "policy.test" denied the request: no labels', "change the webhook"),
        (
            422,
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "the policy that it names",
        ),
        (500, 'Internal error occurred: failed calling webhook "policy.test"', "bring back the server"),
        (500, "etcdserver: request is too large", "fewer exits"),
        (413, "Request entity too large: limit is 3145728", "fewer exits"),
    ],
)
def test_a_refusal_names_the_object_the_cause_and_the_fix(status: int, said: str, fix: str) -> None:
    client = Recorder(status=status, answer={"message": said})
    body = {"apiVersion": "v1", "kind": "Placement", "metadata": {"name": "x", "namespace": "shop"}}
    with pytest.raises(ObjectRefusedError, match=mentions("Placement shop/x", said, fix)):
        _server(client).apply(body)


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ('nodes is forbidden: User "dev" cannot list resource "nodes" at the cluster scope', True),
        ('pods "x" is forbidden: exceeded quota: small', False),
    ],
)
def test_a_missing_permission_differs_from_other_reasons_of_a_403(said: str, lacks: bool) -> None:
    with pytest.raises(ObjectRefusedError) as raised:
        _server(Recorder(status=403, answer={"message": said})).find(PLACEMENTS)
    assert isinstance(raised.value, PermissionDeniedError) == lacks


def test_what_is_not_there_is_none_and_a_kind_that_is_not_installed_has_no_objects() -> None:
    client = Recorder(status=404)
    assert _server(client).get(PLACEMENTS, "default", "x") is None
    assert _server(client).find(PLACEMENTS) == []


def test_a_long_list_is_read_page_by_page() -> None:
    client = Recorder()
    pages = [
        {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "more"}},
        {"items": [{"metadata": {"name": "b"}}], "metadata": {}},
    ]
    client.read = lambda: json.dumps(pages[len(client.requests) - 1]).encode()  # type: ignore[method-assign]
    found = _server(client).find(PLACEMENTS, "default", "app=x")
    assert [(body["kind"], body["metadata"]["name"]) for body in found] == [
        ("Placement", "a"),
        ("Placement", "b"),
    ]
    assert ("continue", "more") in client.requests[1][2]["query_params"]
    assert ("labelSelector", "app=x") in client.requests[1][2]["query_params"]


POD = {
    "kind": "Pod",
    "metadata": {
        "namespace": "default",
        "name": "edge-runtime-cam-1-x",
        "uid": "uid-7",
        "resourceVersion": "7",
    },
}


def test_a_running_pod_is_resized_by_its_subresource_and_only_the_pod_that_was_seen() -> None:
    client = Recorder(answer=POD)
    assert _server(client).resize(POD, "runtime", {"cpu": "75m"}) == POD
    ((method, path, request),) = client.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/default/pods/edge-runtime-cam-1-x/resize")
    assert request["header_params"]["Content-Type"] == "application/strategic-merge-patch+json"
    assert request["body"] == {
        "metadata": {"uid": "uid-7", "resourceVersion": "7"},
        "spec": {"containers": [{"name": "runtime", "resources": {"requests": {"cpu": "75m"}}}]},
    }


def test_a_cluster_without_the_subresource_resizes_nothing() -> None:
    assert _server(Recorder(404)).resize(POD, "runtime", {"cpu": "75m"}) is None


def test_a_pod_that_was_replaced_is_not_resized() -> None:
    client = Recorder(
        409, {"message": "Precondition failed: UID in precondition: uid-7, UID in object: uid-8"}
    )
    with pytest.raises(WriteConflictError, match=mentions("Pod default/edge-runtime-cam-1-x")):
        _server(client).resize(POD, "runtime", {"cpu": "75m"})
