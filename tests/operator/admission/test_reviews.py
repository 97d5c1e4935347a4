"""What is refused, what is accepted with a warning, and what is not looked at."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api import reasons
from edge_operator.admission.requests import Request, answer, read
from edge_operator.admission.reviewing import review
from edge_operator.admission.states import Rules, State
from edge_operator.admission.verdicts import LONGEST_WARNING, Problem, Verdict, verdict
from edge_operator.errors import ReviewError
from messages import mentions

Body = dict[str, Any]
API = "edge-intelligence.io/v1alpha1"


def service(namespace: str = "shop", name: str = "digits", **spec: Any) -> Body:
    base = {"model": {"storageUri": "store://digits.onnx"}, "slo": {"latency": "100ms"}, "devicePool": "edge"}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": "InferenceService", "metadata": metadata, "spec": base | spec}


def tenant(name: str = "shop", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Body:
    selector = {"matchLabels": {"team": "shop"}}
    metadata = {"name": name, "creationTimestamp": created}
    body = {"namespaceSelector": selector} | spec
    return {"apiVersion": API, "kind": "Tenant", "metadata": metadata, "spec": body}


def pool(name: str = "edge") -> Body:
    return {"apiVersion": API, "kind": "DevicePool", "metadata": {"name": name}, "spec": {}}


SHOP = {"metadata": {"name": "shop", "labels": {"team": "shop"}}}


def state(*tenants: Body, services: tuple[Body, ...] = (), rules: Rules | None = None) -> State:
    return State(services, (pool(),), tenants, (SHOP,), rules or Rules())


def created(body: Body) -> Request:
    metadata = body["metadata"]
    return Request("1", body["kind"], "CREATE", metadata.get("namespace", ""), metadata["name"], new=body)


def changed(old: Body, new: Body) -> Request:
    metadata = new["metadata"]
    return Request(
        "1", new["kind"], "UPDATE", metadata.get("namespace", ""), metadata["name"], new=new, old=old
    )


def deleted(body: Body) -> Request:
    return Request("1", body["kind"], "DELETE", "", body["metadata"]["name"], old=body)


def test_a_service_within_the_rules_is_accepted_without_a_warning() -> None:
    ceiling = tenant(priorityCeiling=10)
    assert review(created(service(priority=10)), state(ceiling)) == Verdict()


def test_a_priority_above_the_ceiling_of_the_tenant_is_refused() -> None:
    found = review(created(service(priority=11)), state(tenant(priorityCeiling=10)))
    assert (found.allowed, found.reasons) == (False, (reasons.PRIORITY_ABOVE_CEILING,))
    assert mentions("spec.priority", '"11"', 10, "Tenant shop").search(found.message)


def test_the_ceiling_of_a_tenant_is_that_of_its_namespaces_alone() -> None:
    found = review(created(service("lab", priority=11)), state(tenant(priorityCeiling=10)))
    assert found == Verdict()


@pytest.mark.parametrize(("before", "after", "allowed"), [(11, 11, True), (20, 11, True), (10, 11, False)])
def test_only_a_raised_priority_is_refused_once_a_service_is_stored(
    before: int, after: int, *, allowed: bool
) -> None:
    new = service(priority=after, mode="LocalOnly")
    found = review(changed(service(priority=before), new), state(tenant(priorityCeiling=10)))
    assert found.allowed is allowed
    if allowed:
        assert found.warnings[0].startswith(f"{reasons.PRIORITY_ABOVE_CEILING}: spec.priority")


@given(
    ceiling=st.none() | st.integers(-1000, 1000),
    before=st.none() | st.integers(-1000, 1000),
    after=st.integers(-1000, 1000),
)
def test_a_ceiling_never_refuses_what_was_stored_before(
    ceiling: int | None, before: int | None, after: int
) -> None:
    limits: dict[str, Any] = {} if ceiling is None else {"priorityCeiling": ceiling}
    new = service(priority=after, mode="LocalOnly")
    request = created(new) if before is None else changed(service(priority=before), new)
    found = review(request, state(tenant(**limits)))
    above = ceiling is not None and after > ceiling
    raised = before is None or after > before
    assert found.allowed is not (above and raised)
    assert bool(found.warnings) is (above and not raised)


def test_an_unknown_pool_is_a_warning_that_names_a_similar_one() -> None:
    found = review(created(service(devicePool="egde")), state())
    assert found.allowed
    assert mentions(reasons.UNKNOWN_POOL, "spec.devicePool", '"egde"', "edge").search(found.warnings[0])


NOTHING = {"cpu": "0", "memory": "0", "uplink": "0%", "tritonTime": "0"}


def quotas(*kinds: str, borrowing: bool = True) -> Body:
    given_ = {kind: NOTHING[kind] for kind in kinds}
    return {"name": "edge", "nominalQuota": given_, **({"borrowingLimit": given_} if borrowing else {})}


@pytest.mark.parametrize(
    ("mode", "kinds", "allowed"),
    [
        ("LocalOnly", ("cpu",), False),
        ("LocalOnly", ("uplink",), True),
        ("CloudOnly", ("tritonTime",), False),
        ("CloudOnly", ("cpu",), True),
        ("Auto", ("cpu",), True),
        ("Auto", ("cpu", "uplink"), False),
        ("RightSizingOnly", ("memory",), False),
    ],
)
def test_a_quota_of_nothing_refuses_the_modes_that_need_it(
    mode: str, kinds: tuple[str, ...], *, allowed: bool
) -> None:
    found = review(created(service(mode=mode)), state(tenant(pools=[quotas(*kinds)])))
    assert found.allowed is allowed
    if not allowed:
        assert found.reasons == (reasons.QUOTA_ADMITS_NOTHING,)
        assert mentions("spec.devicePool", '"edge"', "Tenant shop", *kinds, mode).search(found.message)


def test_a_quota_of_nothing_that_may_borrow_refuses_nothing() -> None:
    limits = tenant(pools=[quotas("cpu", borrowing=False)])
    assert review(created(service(mode="LocalOnly")), state(limits)) == Verdict()


def test_a_quota_of_nothing_is_a_warning_for_a_service_that_stays_in_its_pool() -> None:
    old = service(mode="LocalOnly")
    found = review(changed(old, service(mode="LocalOnly", priority=1)), state(tenant(pools=[quotas("cpu")])))
    assert found.allowed
    assert found.warnings[0].startswith(reasons.QUOTA_ADMITS_NOTHING)


@pytest.mark.parametrize(("used", "warned"), [("2", True), ("1999m", False)])
def test_a_quota_that_is_used_up_is_a_warning(used: str, *, warned: bool) -> None:
    limits = {"name": "edge", "nominalQuota": {"cpu": "2"}, "borrowingLimit": {"cpu": "0"}}
    body = tenant(pools=[limits])
    amounts = {"kind": "cpu", "nominal": "2", "used": used}
    body["status"] = {"pools": [{"name": "edge", "resources": [amounts]}]}
    found = review(created(service()), state(body))
    assert found.allowed
    assert [each.startswith(reasons.QUOTA_USED_UP) for each in found.warnings] == [True] * warned


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("file:///models/digits.onnx", True),
        ("file:///models/%64igits.onnx", True),
        ("file:///models/../etc/passwd", False),
        ("file:///models/%2e%2e/etc/passwd", False),
        ("file:///models2/digits.onnx", False),
        ("store://models/digits.onnx", True),
    ],
)
def test_a_file_outside_of_the_shared_folders_is_refused(uri: str, *, allowed: bool) -> None:
    rules = Rules(shared_folders=("/models",))
    found = review(created(service(model={"storageUri": uri})), state(rules=rules))
    assert found.allowed is allowed
    if not allowed:
        assert found.reasons == (reasons.MODEL_NOT_SHARED,)
        assert mentions("spec.model.storageUri", f'"{uri}"', "/models", "store.sharedFolders").search(
            found.message
        )


def test_validation_data_outside_of_the_shared_folders_is_refused() -> None:
    model = {"storageUri": "store://a.onnx", "validation": {"storageUri": "file:///data/a.npz"}}
    found = review(created(service(model=model)), state())
    assert found.reasons == (reasons.MODEL_NOT_SHARED,)
    assert mentions("spec.model.validation.storageUri", "none").search(found.message)


def test_a_model_that_was_accepted_before_is_a_warning_after_the_rules_changed() -> None:
    model = {"storageUri": "file:///models/digits.onnx"}
    found = review(changed(service(model=model), service(model=model, priority=1)), state())
    assert found.allowed
    assert found.warnings[0].startswith(reasons.MODEL_NOT_SHARED)


@pytest.mark.parametrize(
    "model", [{"storageUri": "pvc://c/a"}, {"storageUri": "s3://b/a", "secretName": "k"}]
)
def test_a_model_that_a_job_would_fetch_is_refused_where_jobs_are_disabled(model: Body) -> None:
    assert review(created(service(model=model)), state()).allowed
    found = review(created(service(model=model)), state(rules=Rules(fetching=False)))
    assert found.reasons == (reasons.FETCHING_DISABLED,)


def test_a_stopped_tenant_is_a_warning() -> None:
    found = review(created(service()), state(tenant(stopPolicy="Hold")))
    assert mentions(reasons.TENANT_STOPPED, '"Hold"', "Tenant shop").search(found.warnings[0])


def test_a_port_of_another_service_is_a_warning_that_names_it() -> None:
    exposure = {"type": "NodePort", "httpPort": 30080}
    other = service("lab", "voice", exposure={"type": "NodePort", "grpcPort": 30080})
    own = service(exposure=exposure)
    found = review(created(own), state(services=(other, own)))
    assert len(found.warnings) == 1
    assert mentions(reasons.PORT_IN_USE, "spec.exposure.httpPort", '"30080"', "lab/voice").search(
        found.warnings[0]
    )


def test_unknown_pools_of_a_tenant_and_namespaces_of_older_tenants_are_warned_about() -> None:
    new = tenant("late", "2026-02-01T00:00:00Z", pools=[{"name": "none"}])
    found = review(created(new), state(tenant("early")))
    assert found.allowed
    assert [each.partition(":")[0] for each in found.warnings] == [
        reasons.UNKNOWN_POOL,
        reasons.NAMESPACE_OF_OLDER_TENANT,
    ]
    assert mentions("namespace shop", "Tenant early").search(found.warnings[1])


@pytest.mark.parametrize(("share", "warned"), [("50%", False), ("51%", True)])
def test_shares_beyond_the_whole_of_a_pool_are_a_warning(share: str, *, warned: bool) -> None:
    def entitled(name: str, share: str) -> Body:
        selector = {"matchLabels": {"team": name}}
        return tenant(
            name, namespaceSelector=selector, pools=[{"name": "edge", "nominalQuota": {"cpu": share}}]
        )

    found = review(created(entitled("b", share)), state(entitled("a", "50%")))
    assert [each.startswith(reasons.QUOTAS_EXCEED_POOL) for each in found.warnings] == [True] * warned


def test_a_lowered_ceiling_names_the_services_above_it() -> None:
    old, new = tenant(), tenant(priorityCeiling=5)
    found = review(changed(old, new), state(old, services=(service(priority=6), service(name="b"))))
    assert mentions(reasons.PRIORITY_ABOVE_CEILING, '"5"', "shop/digits").search(found.warnings[0])


@pytest.mark.parametrize("body", [pool(), tenant()])
def test_the_deletion_of_what_services_use_is_a_warning_that_names_them(body: Body) -> None:
    found = review(deleted(body), state(tenant(), services=(service(),)))
    assert found.allowed
    named = mentions(reasons.STILL_IN_USE, body["metadata"]["name"], "shop/digits", "waits")
    assert named.search(found.warnings[0])
    assert review(deleted(body), state(tenant())) == Verdict()


def test_a_pool_that_is_being_deleted_takes_no_further_services() -> None:
    ending = pool()
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    there = State((), (ending, pool("other")), (), (SHOP,))
    for request in (created(service()), changed(service(devicePool="other"), service())):
        found = review(request, there)
        assert (found.allowed, found.reasons) == (False, (reasons.POOL_ENDS,))
        assert mentions("spec.devicePool", '"edge"').search(found.message)
    assert review(changed(service(), service(priority=1)), there) == Verdict()


def test_what_does_not_change_a_spec_is_never_refused() -> None:
    bad = service(priority=11)
    ending, marked = copy.deepcopy(bad), copy.deepcopy(bad)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ending["spec"]["priority"] = 12
    marked["metadata"]["annotations"] = {"a": "b"}
    rules = state(tenant(priorityCeiling=10))
    report = Request("1", "InferenceService", "UPDATE", "shop", "digits", "status", new=ending, old=bad)
    for request in (changed(bad, marked), changed(bad, ending), report, deleted(ending)):
        assert review(request, rules) == Verdict()


def test_values_that_this_version_cannot_read_are_left_to_the_api_server() -> None:
    assert review(created(service(slo={"latency": 5})), state(tenant(priorityCeiling=-5))) == Verdict()


def test_warnings_are_bounded_in_number_and_length() -> None:
    found = verdict(Problem("Reason", "x" * 1000) for _ in range(100))
    assert len(found.warnings) == 11
    assert max(map(len, found.warnings)) == LONGEST_WARNING
    assert "90 more" in found.warnings[-1]


def test_a_review_is_answered_with_the_uid_the_reason_and_the_message() -> None:
    sent = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7",
            "kind": {"kind": "InferenceService"},
            "operation": "CREATE",
            "namespace": "shop",
            "name": "digits",
            "object": service(priority=11),
            "oldObject": None,
        },
    }
    request = read(sent)
    response = answer(request.uid, review(request, state(tenant(priorityCeiling=10))))["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("7", False, 403)
    assert response["status"]["reason"] == reasons.PRIORITY_ABOVE_CEILING


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"kind": "AdmissionReview"}, "apiVersion"),
        ({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}, "request"),
        (
            {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": {"uid": "1", "operation": "PUSH"},
            },
            "request.operation",
        ),
    ],
)
def test_what_is_not_a_review_is_an_error_that_names_the_field(body: Any, field: str) -> None:
    with pytest.raises(ReviewError, match=mentions(field)):
        read(body)
