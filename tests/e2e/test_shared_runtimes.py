"""The services of a namespace share a runtime at each node; a Dedicated one has its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import yaml

from testbed import KubectlFailed
from trials import Trial

NODES = ("edge-a", "edge-b", "edge-c")
OPERATOR = ("-n", "edge-intelligence", "deploy/edge-operator")


def pods(trial: Trial, isolation: str) -> dict[str, tuple[str, int]]:
    """The runtimes' pods by node: uid and restarts."""
    label = f"edge-intelligence.io/isolation={isolation}"
    found = json.loads(trial.cluster.kubectl("get", "pods", "-n", "default", "-l", label, "-o", "json"))
    return {
        pod["spec"]["nodeName"]: (
            pod["metadata"]["uid"],
            sum(status["restartCount"] for status in pod["status"].get("containerStatuses", [])),
        )
        for pod in found["items"]
        if "deletionTimestamp" not in pod["metadata"]
    }


@pytest.fixture
def rolled_out(trial: Trial) -> Trial:
    """All runtimes have the version of the installed operator."""

    def image(deployment: Any) -> str:
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def done() -> bool:
        operator = trial.get("deployment", "edge-operator", "edge-intelligence")
        variables = operator["spec"]["template"]["spec"]["containers"][0]["env"]
        wanted = next(each["value"] for each in variables if each["name"] == "EDGE_RUNTIME_IMAGE")
        found = json.loads(trial.cluster.kubectl("get", "deployments", "-n", "default", "-o", "json"))[
            "items"
        ]
        counts = [
            [body["status"].get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
            for body in found
        ]
        seen = all(body["status"]["observedGeneration"] == body["metadata"]["generation"] for body in found)
        return (
            seen
            and all(image(body) == wanted for body in found)
            and all(count == [1, 1, 1] for count in counts)
        )

    trial.wait("runtimes of the installed version", done)
    return trial


def manifest(trial: Trial, name: str, **spec: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "edge-intelligence.io/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": "default"},
            "spec": trial.get("inferenceservice", "digits")["spec"] | spec,
        }
    )


@contextmanager
def another(trial: Trial, name: str, **spec: Any) -> Iterator[None]:
    """A second service like the example, until it is Ready; deleted at the end."""
    kubectl = trial.cluster.kubectl
    kubectl("apply", "-f", "-", text=manifest(trial, name, **spec))
    try:
        trial.wait(f"{name} Ready", lambda: trial.condition(name, "Ready").get("status") == "True")
        yield
    finally:
        kubectl("delete", "inferenceservice", name, "--wait", "--timeout=90s")


def answers(trial: Trial, node: str, service: str) -> bool:
    """Whether the service answers at the node; False if the requests of others there take too long."""
    try:
        return trial.ask(node, service=service).model == service
    except AssertionError as error:
        if "[429]" not in str(error):
            raise
        return False


def served(trial: Trial, node: str, service: str = "digits") -> float:
    """How many requests to a service a node's runtime has answered."""
    prefix = "edge_request_duration_seconds_count{"
    lines = (line for line in trial.metrics(node) if line.startswith(prefix))
    return sum(float(line.split()[-1]) for line in lines if f'service="{service}"' in line)


def test_a_second_service_runs_in_the_same_pods_and_costs_the_first_no_request(rolled_out: Trial) -> None:
    trial = rolled_out
    before = pods(trial, "Shared")
    assert set(before) == set(NODES)
    with trial.load("edge-a", rate=5) as first, trial.load("edge-b", rate=2, protocol="grpc") as also:
        with another(trial, "letters"):
            for node in NODES:
                trial.wait(f"a response at {node}", partial(answers, trial, node, "letters"))
            assert pods(trial, "Shared") == before
        trial.wait("an end of the second service", lambda: _gone(trial, "placement", "letters.edge-a"))
        first.wait_for("content", lambda _: True)
    for load in (first, also):
        load.check_none_lost()
    assert pods(trial, "Shared") == before


def test_a_toleration_for_a_taint_that_no_node_has_replaces_no_pod(rolled_out: Trial) -> None:
    trial, kubectl = rolled_out, rolled_out.cluster.kubectl
    before = pods(trial, "Shared")
    groups = trial.get("devicepool", "factory")["spec"]["nodes"]
    toleration = {"key": "example.com/unused", "operator": "Exists", "effect": "NoSchedule"}

    def declare(nodes: Any) -> None:
        patch = json.dumps({"spec": {"nodes": nodes}})
        kubectl("patch", "devicepool", "factory", "--type=merge", "-p", patch)

    def planned() -> bool:
        pool = trial.get("devicepool", "factory")
        ready = next(each for each in pool["status"]["conditions"] if each["type"] == "Ready")
        return bool(ready["observedGeneration"] == pool["metadata"]["generation"])

    try:
        declare([{**group, "tolerations": [toleration]} for group in groups])
        trial.wait("the operator has read the pool", planned)
        # The namespace's runtimes were compared with the pool: a service that comes is placed after that.
        with another(trial, "letters"):
            assert pods(trial, "Shared") == before
    finally:
        declare(groups)
    trial.wait("the operator has read the pool", planned)
    assert pods(trial, "Shared") == before


def test_a_dedicated_service_has_pods_of_its_own(rolled_out: Trial) -> None:
    trial = rolled_out
    shared = pods(trial, "Shared")
    with another(trial, "alone", isolation="Dedicated"):
        assert set(pods(trial, "Dedicated")) == set(NODES)
        assert trial.ask("edge-a", service="alone", host="alone").model == "alone"
        assert pods(trial, "Shared") == shared
    trial.wait("no dedicated pods", lambda: not pods(trial, "Dedicated"))


def test_a_client_reaches_the_runtime_of_its_own_node_by_the_services_name(rolled_out: Trial) -> None:
    trial = rolled_out
    count = 8
    for node in NODES:
        before = {each: served(trial, each) for each in NODES}
        for index in range(count):
            trial.ask(node, index=index, host="digits")
        after = {each: served(trial, each) for each in NODES}
        assert {each for each in NODES if after[each] > before[each]} == {node}
        assert after[node] - before[node] == count


def test_a_client_on_a_node_without_a_runtime_is_answered(trial: Trial) -> None:
    for protocol in ("http", "grpc"):
        assert trial.ask("cloud", protocol, host="digits").model == "digits"


def test_a_client_on_a_node_that_does_not_serve_the_service_is_answered(trial: Trial) -> None:
    only = {"nodeSelector": {"kubernetes.io/hostname": "edge-a"}}
    with another(trial, "narrow", entryNodes=only):
        before = served(trial, "edge-a", "narrow")
        for protocol in ("http", "grpc"):
            # Its own node's runtime serves the example alone, and forwards the request.
            assert trial.ask("edge-b", protocol, service="narrow", host="narrow").model == "narrow"
        assert served(trial, "edge-a", "narrow") == before + 2


def test_pods_of_an_earlier_version_give_way_without_losing_a_request(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    kubectl("scale", "--replicas=0", *OPERATOR)
    try:
        spec = {"entryNodes": {"nodeSelector": {"kubernetes.io/hostname": "edge-a"}}}
        kubectl("apply", "-f", "-", text=manifest(trial, "former", **spec))
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(_earlier_objects(trial)))
        kubectl("rollout", "status", "deploy/former-edge-a", "-n", "default", "--timeout=180s")
        with trial.load("edge-a", rate=4, service="former", host="former") as load:
            kubectl("scale", "--replicas=1", *OPERATOR)
            trial.wait("the end of the earlier pods", lambda: _gone(trial, "deployment", "former-edge-a"))
            trial.wait("the end of their account", lambda: _gone(trial, "serviceaccount", "former-runtime"))
            load.wait_for("content", lambda _: True)
        load.check_none_lost()
        assert _gone(trial, "service", "former-edge-a")
        assert _gone(trial, "placement", "former-edge-a")
        selector = trial.get("service", "former")["spec"]["selector"]
        assert selector == {"edge-intelligence.io/isolation": "Shared"}
        assert trial.condition("former", "Ready")["status"] == "True"
    finally:
        kubectl("scale", "--replicas=1", *OPERATOR)
        kubectl("rollout", "status", *OPERATOR, "--timeout=180s")
        kubectl("delete", "inferenceservice", "former", "--wait", "--timeout=90s")


def _earlier_objects(trial: Trial) -> list[dict[str, Any]]:
    """What the version before made for the service at its node, from what this one made for the example."""
    service = {"edge-intelligence.io/service": "former", "app.kubernetes.io/managed-by": "edge-intelligence"}
    node = service | {"edge-intelligence.io/node": "edge-a"}

    def metadata(name: str, labels: dict[str, str]) -> dict[str, Any]:
        return {"name": name, "namespace": "default", "labels": labels}

    placement = trial.get("placement", "digits.edge-a")
    table = {key: value for key, value in placement["spec"].items() if key != "isolation"}
    deployment = trial.get("deployment", "edge-runtime-edge-a")
    pod = deployment["spec"]["template"]["spec"]
    pod["serviceAccountName"] = pod["serviceAccount"] = "former-runtime"
    pod["containers"][0]["args"] += ["--service", "former"]
    verbs = {"placements": ["get", "list", "watch"], "placements/status": ["patch"]}
    rules = [{"apiGroups": ["edge-intelligence.io"], "resources": [r], "verbs": v} for r, v in verbs.items()]
    subject = {"kind": "ServiceAccount", "name": "former-runtime", "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "former-runtime"}
    ports = trial.get("service", "digits")["spec"]["ports"]
    access = metadata("former-runtime", service)
    template = {"metadata": {"labels": node}, "spec": pod}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": access},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": access, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": access,
            "roleRef": reference,
            "subjects": [subject],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata("former", service),
            "spec": {"selector": service, "ports": ports, "internalTrafficPolicy": "Local"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata("former-edge-a", node),
            "spec": {"selector": node, "ports": ports},
        },
        {
            "apiVersion": placement["apiVersion"],
            "kind": "Placement",
            "metadata": metadata("former-edge-a", node),
            "spec": table | {"service": "former"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata("former-edge-a", node),
            "spec": {"replicas": 1, "selector": {"matchLabels": node}, "template": template},
        },
    ]


def _gone(trial: Trial, kind: str, name: str) -> bool:
    try:
        trial.get(kind, name)
    except KubectlFailed:
        return True
    return False
