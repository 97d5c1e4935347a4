"""The chart installs the admission webhook, which nothing depends on, with an account that only reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_operator.admission.states import READ

Render = Callable[..., list[dict[str, Any]]]
Helm = Callable[..., Any]
NAME = "edge-admission"
CHART = Path(__file__).parents[2] / "charts" / "edge-intelligence"
TEMPLATE = ("template", "test", str(CHART), "--kube-version", "1.34.2")


def of_webhook(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in objects if NAME in body["metadata"]["name"]]


def one(objects: list[dict[str, Any]], kind: str, name: str = NAME) -> dict[str, Any]:
    [found] = [b for b in of_webhook(objects) if b["kind"] == kind and name in b["metadata"]["name"]]
    return found


def hook(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [found] = one(objects, "ValidatingWebhookConfiguration")["webhooks"]
    return dict(found)


def arguments(objects: list[dict[str, Any]]) -> list[str]:
    [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    [operator] = [
        b for b in objects if b["kind"] == "Deployment" and b["metadata"]["name"] == "edge-operator"
    ]
    [container] = operator["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def rights(objects: list[dict[str, Any]], account: str) -> set[tuple[str, str, str]]:
    """Verb, resource and names of each right of an account."""
    bound = {
        body["roleRef"]["name"]
        for body in objects
        if body["kind"].endswith("Binding") and body.get("subjects", [{}])[0].get("name") == account
    }
    return {
        (verb, resource, ",".join(rule.get("resourceNames", ())))
        for body in objects
        if body["kind"] in ("ClusterRole", "Role") and body["metadata"]["name"] in bound
        for rule in body["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def test_two_pods_answer_and_one_of_them_may_be_evicted(render: Render) -> None:
    objects = render()
    assert one(objects, "Deployment")["spec"]["replicas"] == 2
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert not [b for b in of_webhook(render("admission.replicas=1")) if b["kind"] == "PodDisruptionBudget"]


def test_its_account_lists_what_it_decides_on_and_writes_nothing(render: Render) -> None:
    wanted = {(verb, kind.plural, "") for kind in READ for verb in ("list", "watch")}
    assert rights(render(), NAME) == wanted


def test_the_operator_may_change_its_configuration_and_its_secret_alone(render: Render) -> None:
    objects = render()
    found = {each for each in rights(objects, "edge-operator") if "edge-admission" in each[2]}
    name = one(objects, "ValidatingWebhookConfiguration")["metadata"]["name"]
    configuration = {(verb, "validatingwebhookconfigurations", name) for verb in ("get", "patch")}
    secret = {(verb, "secrets", "edge-admission-tls") for verb in ("get", "create", "patch")}
    assert found == configuration | secret
    assert environment(objects)["EDGE_ADMISSION_WEBHOOK"] == name


def test_without_it_objects_are_accepted_unless_the_values_say_otherwise(render: Render) -> None:
    found = hook(render())
    assert (found["failurePolicy"], found["timeoutSeconds"], found["sideEffects"]) == ("Ignore", 5, "None")
    assert "caBundle" not in found["clientConfig"]
    assert hook(render("admission.failurePolicy=Fail"))["failurePolicy"] == "Fail"


def test_it_is_called_for_specs_and_deletions_and_never_for_a_status(render: Render) -> None:
    found = hook(render())
    reviewed = {
        (operation, resource)
        for rule in found["rules"]
        for operation in rule["operations"]
        for resource in rule["resources"]
    }
    assert reviewed == {
        ("CREATE", "inferenceservices"), ("UPDATE", "inferenceservices"),
        ("CREATE", "tenants"), ("UPDATE", "tenants"), ("DELETE", "tenants"), ("DELETE", "devicepools"),
    }  # fmt: skip
    [condition] = found["matchConditions"]
    assert "object.spec != oldObject.spec" in condition["expression"]


@pytest.mark.parametrize(
    ("watched", "operator", "values"), [("", "NotIn", ["kube-system"]), ("lab", "In", ["lab"])]
)
def test_it_reviews_the_namespaces_that_the_operator_watches(
    render: Render, watched: str, operator: str, values: list[str]
) -> None:
    objects = render(f"operator.watchNamespace={watched}")
    [found] = hook(objects)["namespaceSelector"]["matchExpressions"]
    assert (found["operator"], found["values"]) == (operator, values)
    assert ("--namespace=lab" in arguments(objects)) is bool(watched)


def test_it_knows_what_the_model_store_allows(render: Render) -> None:
    found = arguments(
        render(
            "store.sharedFolders[0].path=/models",
            "store.sharedFolders[0].volume.hostPath.path=/models",
            "store.fetching.enabled=false",
        )
    )
    assert {"--shared-folder=/models", "--no-fetching"} <= set(found)


@pytest.mark.parametrize("settings", [("admission.enabled=false",), ("tls.mode=Disabled",)])
def test_it_is_not_installed_if_turned_off_or_without_a_certificate(
    render: Render, settings: tuple[str, ...]
) -> None:
    objects = render(*settings)
    assert of_webhook(objects) == []
    assert "EDGE_ADMISSION_WEBHOOK" not in environment(objects)


def test_a_given_certificate_is_mounted_and_the_operator_issues_none(render: Render) -> None:
    objects = render("admission.tlsSecret=given", "admission.caBundle=QUJD", "tls.mode=Disabled")
    [volume] = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == "given"
    assert hook(objects)["clientConfig"]["caBundle"] == "QUJD"
    assert environment(objects)["EDGE_ADMISSION_TLS_SECRET"] == "given"
    assert not {each for each in rights(objects, "edge-operator") if "edge-admission" in each[2]}


def test_a_given_certificate_that_no_webhook_would_trust_is_refused(helm: Helm) -> None:
    done = helm(*TEMPLATE, "--set", "admission.tlsSecret=given")
    assert done.returncode != 0
    assert "admission.tlsSecret" in done.stderr
    assert "admission.webhookAnnotations" in done.stderr


def test_cert_manager_finds_its_annotation(helm: Helm) -> None:
    values = ["--set", "admission.tlsSecret=given"]
    values += ["--set", r"admission.webhookAnnotations.cert-manager\.io/inject-ca-from=a/b"]
    done = helm(*TEMPLATE, *values)
    objects = [body for body in yaml.safe_load_all(done.stdout) if body]
    found = one(objects, "ValidatingWebhookConfiguration")
    assert found["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "a/b"}
