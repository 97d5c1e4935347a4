"""With store.tokens, the store has callers show tokens, and the operator has one to show."""

import json
from collections.abc import Callable
from typing import Any

from edge_api.store_access import AUDIENCE
from edge_operator.settings import Settings
from edge_runtime.cli import _parser

Render = Callable[..., list[dict[str, Any]]]


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name))


def test_the_store_requires_tokens_of_accounts_that_the_chart_creates(render: Render) -> None:
    objects = render("store.tokens=true")
    pod = one(objects, "Deployment", "model-store")["spec"]["template"]["spec"]
    parsed = _parser().parse_args(pod["containers"][0]["args"])
    assert parsed.tokens
    assert parsed.operator_account == [("edge-intelligence", "edge-operator")]
    assert parsed.profiler_account == [("edge-intelligence", "edge-profiler")]
    for namespace, name in (*parsed.operator_account, *parsed.profiler_account):
        assert one(objects, "ServiceAccount", name)["metadata"]["namespace"] == namespace
    # It reviews tokens with its own account, and may do nothing else.
    assert pod["serviceAccountName"] == "model-store"
    assert "automountServiceAccountToken" not in pod
    binding = one(objects, "ClusterRoleBinding", "edge-intelligence-model-store")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "model-store", "namespace": "edge-intelligence"}
    ]
    assert one(objects, "ClusterRole", binding["roleRef"]["name"])["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]


def test_the_operators_token_for_the_store_is_mounted_where_it_reads_it(render: Render) -> None:
    pod = one(render("store.tokens=true"), "Deployment", "edge-operator")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = Settings.from_environment({v["name"]: v.get("value", "x") for v in container["env"]})
    mount = next(each for each in container["volumeMounts"] if each["name"] == "store-token")
    assert settings.store_token == f"{mount['mountPath']}/token"
    volume = next(each for each in pod["volumes"] if each["name"] == "store-token")
    token = {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}
    assert volume["projected"]["sources"] == [{"serviceAccountToken": token}]


def test_a_store_without_tokens_gets_no_account_and_the_operator_no_token(render: Render) -> None:
    objects = render("store.tokens=false")
    pod = one(objects, "Deployment", "model-store")["spec"]["template"]["spec"]
    assert "--tokens" not in pod["containers"][0]["args"]
    assert pod["automountServiceAccountToken"] is False
    others = [body for body in objects if "edge-console" not in body["metadata"]["name"]]
    assert "tokenreviews" not in json.dumps(others)
    operator = one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    settings = Settings.from_environment({v["name"]: v.get("value", "x") for v in operator["env"]})
    assert settings.store_token == ""
