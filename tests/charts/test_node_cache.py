"""The caches of nodes: nothing unless enabled, then an agent on each node that owns one folder of it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_operator.authority.upkeep import NODE_CACHE, NODE_CACHE_SECRET
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment
from edge_operator.settings import Settings
from edge_runtime.cli import _parser
from messages import mentions

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]
CHART = Path(__file__).parents[2] / "charts" / "edge-intelligence"
ENABLED = "nodeCache.enabled=true"
SECRETS = (
    "tls.mode=Secrets",
    "operator.tlsSecret=edge-operator",
    "runtime.tlsSecret=edge-runtimes",
    "store.tlsSecret=edge-store",
)


def of(objects: list[dict[str, Any]], kind: str, name: str = NODE_CACHE) -> dict[str, Any]:
    return next(body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name))


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = of(objects, "DaemonSet")["spec"]["template"]["spec"]
    return found


def settings_of(objects: list[dict[str, Any]]) -> Settings:
    container = of(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    return Settings.from_environment({v["name"]: v.get("value", "from-the-pod") for v in container["env"]})


def secrets(objects: list[dict[str, Any]]) -> list[str]:
    """What the operator may do to the Secret of the agents' certificate."""
    rules = [rule for body in objects if body["kind"] == "Role" for rule in body["rules"]]
    named = [rule["verbs"] for rule in rules if NODE_CACHE_SECRET in rule.get("resourceNames", ())]
    return [verb for verbs in named for verb in verbs]


def test_without_the_value_nothing_of_it_is_installed(render: Render) -> None:
    objects = render()
    assert not [body for body in objects if "node-cache" in body["metadata"]["name"]]
    assert settings_of(objects).node_cache_url == ""
    assert not secrets(objects)


def test_the_agent_may_write_one_folder_of_the_node_and_nothing_else(render: Render) -> None:
    spec = pod(render(ENABLED, "nodeCache.path=/data/cache"))
    folders = [volume["hostPath"] for volume in spec["volumes"] if "hostPath" in volume]
    assert folders == [{"path": "/data/cache", "type": "DirectoryOrCreate"}]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"livenessProbe", "readinessProbe"} <= set(container)
    (first,) = spec["initContainers"]
    assert first["securityContext"] == {
        "runAsNonRoot": False,
        "runAsUser": 0,
        "runAsGroup": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
    }
    given = _parser().parse_args(first["args"])
    assert given.give_to == spec["securityContext"]["runAsUser"]


def test_the_arguments_are_those_of_the_command(render: Render) -> None:
    spec = pod(render(ENABLED, "nodeCache.size=5Gi", "nodeCache.keepFree=500M"))
    arguments = _parser().parse_args(spec["containers"][0]["args"])
    assert (arguments.size, arguments.keep_free) == (5 << 30, 500e6)
    assert arguments.store == "https://model-store.edge-intelligence.svc.cluster.local:8080"
    assert (arguments.tokens, arguments.tls_clients) == (True, "require")
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["cache"] == str(arguments.root)
    assert mounts["tls"] == str(arguments.tls_dir)


def test_runtimes_reach_the_agent_of_their_own_node_by_the_name_of_its_certificate(render: Render) -> None:
    objects = render(ENABLED)
    service = of(objects, "Service")["spec"]
    assert service["internalTrafficPolicy"] == "Local"
    settings = settings_of(objects)
    assert settings.node_cache_url == "https://edge-node-cache.edge-intelligence.svc.cluster.local:8080"
    deployment = runtime_deployment(Runtime("shop", "cam"), Host("cam", ready=True), settings, SURGE)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "EDGE_NODE_CACHE", "value": settings.node_cache_url} in container["env"]
    volume = next(volume for volume in pod(objects)["volumes"] if volume["name"] == "tls")
    assert volume["secret"]["secretName"] == NODE_CACHE_SECRET
    assert secrets(objects) == ["get", "create", "patch"]


def test_the_agent_may_only_ask_whose_token_a_caller_shows(render: Render) -> None:
    objects = render(ENABLED)
    assert of(objects, "ClusterRole", "edge-intelligence-edge-node-cache")["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    bound = [b for b in objects if any(s["name"] == NODE_CACHE for s in b.get("subjects") or ())]
    assert [body["roleRef"]["name"] for body in bound] == ["edge-intelligence-edge-node-cache"]


def test_without_tokens_it_has_no_rights_and_requires_none(render: Render) -> None:
    objects = render(ENABLED, "store.tokens=false", "tls.mode=Disabled")
    spec = pod(objects)
    assert spec["automountServiceAccountToken"] is False
    assert "--tokens" not in spec["containers"][0]["args"]
    assert not [b for b in objects if any(s["name"] == NODE_CACHE for s in b.get("subjects") or ())]
    assert settings_of(objects).node_cache_url.startswith("http://edge-node-cache.")
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["port"] == "http"


def test_runtimes_alone_may_connect_to_agents_and_agents_to_the_store(render: Render) -> None:
    objects = render(ENABLED, "networkPolicies.metrics[0].podSelector.matchLabels.app=prometheus")
    rules = of(objects, "NetworkPolicy")["spec"]["ingress"]
    (peer,) = rules[0]["from"]
    deployment = runtime_deployment(
        Runtime("shop", "cam"), Host("cam", ready=True), settings_of(objects), SURGE
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert (rules[0]["ports"], rules[1]["ports"]) == ([{"port": "http"}], [{"port": "health"}])
    agent = of(objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    peers = of(objects, "NetworkPolicy", "model-store")["spec"]["ingress"][0]["from"]
    selectors = [each.get("podSelector", {}).get("matchLabels", {}) for each in peers]
    assert {"app.kubernetes.io/name": NODE_CACHE} in [
        {key: value for key, value in each.items() if key == "app.kubernetes.io/name"} for each in selectors
    ]
    assert agent["app.kubernetes.io/name"] == NODE_CACHE


@pytest.mark.parametrize(
    ("monitor", "kind"),
    [("monitoring.podMonitor", "PodMonitor"), ("monitoring.serviceMonitor", "ServiceMonitor")],
)
def test_it_is_scraped_like_the_store(render: Render, monitor: str, kind: str) -> None:
    objects = render(ENABLED)
    annotations = of(objects, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "8082"
    objects = render(ENABLED, f"{monitor}.enabled=true")
    assert of(objects, kind)
    assert not of(objects, "DaemonSet")["spec"]["template"]["metadata"].get("annotations")


def test_places_and_certificates_can_be_given(render: Render) -> None:
    spec = pod(
        render(
            ENABLED,
            *SECRETS,
            "nodeCache.tlsSecret=edge-caches",
            "nodeCache.nodeSelector.disk=ssd",
            "nodeCache.tolerations[0].key=edge",
            "nodeCache.tolerations[0].operator=Exists",
            "nodeCache.priorityClassName=low",
        )
    )
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"key": "edge", "operator": "Exists"}]
    assert spec["priorityClassName"] == "low"
    assert {"name": "tls", "secret": {"secretName": "edge-caches", "defaultMode": 0o440}} in spec["volumes"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (SECRETS, ("store.tlsSecret", "nodeCache.tlsSecret")),
        (("tls.mode=Secrets", "nodeCache.tlsSecret=a"), ("nodeCache.tlsSecret", "runtime.tlsSecret")),
        (("nodeCache.tlsSecret=a",), ("nodeCache.tlsSecret", "tls.mode=Secrets")),
        (("nodeCache.path=cache",), ("path",)),
        (("nodeCache.size=much",), ("size",)),
    ],
)
def test_values_that_do_not_fit_are_refused(
    helm: Helm, values: tuple[str, ...], words: tuple[str, ...]
) -> None:
    given = [part for value in (ENABLED, *values) for part in ("--set", value)]
    done = helm("template", "test", str(CHART), "--kube-version", "1.34.2", *given)
    assert done.returncode
    assert mentions(*words).search(done.stderr)
