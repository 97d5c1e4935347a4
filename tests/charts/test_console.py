"""The chart installs the console with an account that only reads."""

from collections.abc import Callable
from typing import Any

from edge_console.rights import NAMESPACED, POOLS, TENANTS
from edge_operator.explaining.replanning import READ

Render = Callable[..., list[dict[str, Any]]]
NAME = "edge-console"
REVIEWS = {("create", "tokenreviews"), ("create", "subjectaccessreviews")}


def of_console(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in objects if NAME in body["metadata"]["name"]]


def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return next(body for body in of_console(objects) if body["kind"] == "Deployment")


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [found] = deployment(objects)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def granted(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {
        (verb, resource)
        for body in of_console(objects)
        for rule in body.get("rules") or ()
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def test_its_account_lists_what_it_shows_and_writes_nothing(render: Render) -> None:
    found = granted(render())
    listed = {(verb, kind.plural) for kind in READ for verb in ("list", "watch")}
    assert found == listed | REVIEWS | {("list", "deployments")}
    shown = {right.resource for right in (*POOLS, *TENANTS)} | set(NAMESPACED)
    assert shown <= {resource for _, resource in found}


def test_with_one_watched_namespace_it_reads_services_there_alone(render: Render) -> None:
    objects = of_console(render("operator.watchNamespace=lab"))
    bindings = {
        body["roleRef"]["name"]: (body["kind"], body["metadata"].get("namespace"))
        for body in objects
        if body["kind"].endswith("Binding")
    }
    assert bindings["edge-intelligence-edge-console"] == ("RoleBinding", "lab")
    assert "--namespace=lab" in container(objects)["args"]


def test_it_runs_from_the_operators_image_without_rights_on_the_node(render: Render) -> None:
    objects = render("operator.image.tag=9.9.9")
    found = container(objects)
    assert found["image"].endswith("edge-intelligence/operator:9.9.9")
    assert found["command"] == [NAME]
    assert found["securityContext"]["readOnlyRootFilesystem"]
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert deployment(objects)["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_with_a_certificate_it_serves_and_is_probed_by_https(render: Render) -> None:
    plain, secure = container(render()), container(render("console.tlsSecret=console-tls"))
    assert plain["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    assert "volumeMounts" not in plain
    assert secure["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert "--tls-key=/etc/edge/tls/tls.key" in secure["args"]
    assert secure["volumeMounts"][0]["readOnly"]


def test_it_runs_where_the_operator_does_unless_it_has_nodes_of_its_own(render: Render) -> None:
    def selected(*values: str) -> Any:
        return deployment(render(*values))["spec"]["template"]["spec"].get("nodeSelector")

    assert selected() is None
    assert selected("operator.nodeSelector.tier=cloud") == {"tier": "cloud"}
    assert selected("operator.nodeSelector.tier=cloud", "console.nodeSelector.tier=web") == {"tier": "web"}


def test_it_can_be_left_out(render: Render) -> None:
    assert of_console(render("console.enabled=false")) == []
