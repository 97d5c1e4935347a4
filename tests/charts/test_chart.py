"""The objects of an installation, and the values that the chart rejects."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_operator.authority.upkeep import OPERATOR_SECRET, STORE_SECRET
from edge_operator.cli import _parser as _operator_parser
from edge_operator.finalizer_removal import OPERATOR_PODS
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment
from edge_operator.settings import Settings
from edge_runtime.cli import _parser
from edge_runtime.grpc.keepalive import keepalive_of
from messages import mentions

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]
CHART = Path(__file__).parents[2] / "charts" / "edge-intelligence"


def _one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name))


def _deployments(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in objects if body["kind"] == "Deployment"]


def test_helm_finds_nothing_to_complain_about(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_crds_come_with_the_chart(render: Render) -> None:
    kinds = {body["spec"]["names"]["kind"] for body in render() if body["kind"] == "CustomResourceDefinition"}
    assert kinds == {"InferenceService", "DevicePool", "ModelProfile", "Placement", "Tenant"}
    assert not (CHART / "crds").exists(), "Helm never upgrades what is there"


def test_crds_are_those_of_the_api_and_outlive_the_release(render: Render) -> None:
    generated = {
        body["metadata"]["name"]: body
        for path in (CHART.parents[1] / "crds").iterdir()
        if (body := yaml.safe_load(path.read_text()))
    }
    found = [body for body in render() if body["kind"] == "CustomResourceDefinition"]
    assert {body["metadata"]["name"]: body["spec"] for body in found} == {
        name: body["spec"] for name, body in generated.items()
    }
    assert all(body["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for body in found)


def test_crds_can_be_left_to_others(render: Render) -> None:
    assert not [body for body in render("crds.enabled=false") if body["kind"] == "CustomResourceDefinition"]


def test_every_pod_is_confined_and_has_probes_and_requests(render: Render) -> None:
    for deployment in _deployments(render()):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"livenessProbe", "readinessProbe"} <= set(container)
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_the_operators_environment_is_one_that_it_reads(render: Render) -> None:
    objects = render(
        "runtime.image.repository=example/runtime", "runtime.image.tag=1.2.3", "imagePullSecrets={a,b}"
    )
    container = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable.get("value", "from-the-pod") for variable in container["env"]}
    settings = Settings.from_environment(environment)
    assert settings.store_url == "https://model-store.edge-intelligence.svc.cluster.local:8080"
    assert settings.runtime_image == "example/runtime:1.2.3"
    assert settings.runtime_resources == {"requests": {"cpu": "50m", "memory": "192Mi"}}
    assert settings.pull_secrets == ("a", "b")
    store = _one(objects, "Service", "model-store")
    assert settings.store_url.startswith(
        f"https://{store['metadata']['name']}.{store['metadata']['namespace']}."
    )
    assert store["spec"]["ports"][0]["port"] == 8080


def test_tls_for_clients_and_traces_are_off_until_the_values_say_so(render: Render) -> None:
    def settings(*values: str) -> Settings:
        pod = _one(render(*values), "Deployment", "edge-operator")["spec"]["template"]["spec"]
        variables = pod["containers"][0]["env"]
        return Settings.from_environment({v["name"]: v.get("value", "from-the-pod") for v in variables})

    assert (settings().tls_secret, settings().tracing_endpoint) == ("", "")
    told = settings(
        "tls.mode=Secrets",
        "runtime.tlsSecret=edge-runtimes",
        "tracing.endpoint=http://collector:4318",
        "tracing.ratio=0.25",
    )
    assert (told.tls_secret, told.runtime_scheme) == ("edge-runtimes", "https")
    assert (told.tracing_endpoint, told.tracing_ratio) == ("http://collector:4318", 0.25)


def test_the_runtimes_flags_for_grpc_are_those_that_it_has(render: Render) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    flags = schema["$defs"]["Grpc"]["properties"]
    values = [f"runtime.grpc.{name}={about['maximum']}" for name, about in flags.items()]
    pod = _one(render(*values), "Deployment", "edge-operator")["spec"]["template"]["spec"]
    variables = {v["name"]: v.get("value", "from-the-pod") for v in pod["containers"][0]["env"]}
    settings = Settings.from_environment(variables)
    runtime, host = Runtime("shop", "edge-a"), Host("edge-a", ready=True)
    deployment = runtime_deployment(runtime, host, settings, SURGE)
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    given = keepalive_of(_parser().parse_args(arguments))
    assert len(flags) == len(given.options())
    assert {number for _, number in given.options()} == {about["maximum"] for about in flags.values()}


def test_every_part_is_reached_by_both_families_or_by_the_one_there_is(render: Render) -> None:
    objects = render()
    services = [body for body in objects if body["kind"] == "Service"]
    assert [body["spec"]["ipFamilyPolicy"] for body in services] == ["PreferDualStack"] * len(services)
    assert not [body for body in services if "ipFamilies" in body["spec"]]
    container = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    ip = next(variable for variable in container["env"] if variable["name"] == "EDGE_POD_IP")
    assert ip["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert "0.0.0.0" not in str(objects)


def test_the_operators_certificates_are_mounted_where_it_looks_for_them(render: Render) -> None:
    def pod(*values: str) -> Any:
        return _one(render(*values), "Deployment", "edge-operator")["spec"]["template"]["spec"]

    def folder(pod: Any) -> str:
        variables = {v["name"]: v.get("value", "from-the-pod") for v in pod["containers"][0]["env"]}
        return Settings.from_environment(variables).tls_dir

    without, given = pod("tls.mode=Disabled"), pod("tls.mode=Secrets", "operator.tlsSecret=edge-operator")
    assert folder(without) == ""
    assert "tls" not in [volume["name"] for volume in without["volumes"]]
    mount = {"name": "tls", "mountPath": folder(given), "readOnly": True}
    assert folder(given) == "/etc/edge/tls"
    assert mount in given["containers"][0]["volumeMounts"]
    # Readable by the pod's group: the operator is not root.
    secret = {"secretName": "edge-operator", "defaultMode": 0o440}
    assert {"name": "tls", "secret": secret} in given["volumes"]
    assert given["securityContext"]["fsGroup"] == given["securityContext"]["runAsGroup"] == 65532


def test_a_store_with_a_secret_speaks_tls_and_tells_the_kubelet_its_health_without(render: Render) -> None:
    off = render("store.tokens=false", "tls.mode=Disabled")
    plain = _one(off, "Deployment", "model-store")["spec"]["template"]["spec"]
    assert plain["containers"][0]["args"] == ["store", "--root=/data", "--host=::", "--port=8080"]
    assert plain["containers"][0]["readinessProbe"]["httpGet"]["port"] == "http"
    objects = render(
        "tls.mode=Secrets",
        "store.tlsSecret=edge-store",
        "operator.tlsSecret=edge-operator",
        "runtime.tlsSecret=edge-runtimes",
    )
    pod = _one(objects, "Deployment", "model-store")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"--tls-dir=/etc/edge/tls", "--health-port=8082"} <= set(container["args"])
    assert {"name": "health", "containerPort": 8082} in container["ports"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "health"
    assert {"name": "tls", "mountPath": "/etc/edge/tls", "readOnly": True} in container["volumeMounts"]
    assert {"name": "tls", "secret": {"secretName": "edge-store", "defaultMode": 0o440}} in pod["volumes"]
    operator = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    settings = Settings.from_environment({v["name"]: v.get("value", "x") for v in operator["env"]})
    assert settings.store_url == "https://model-store.edge-intelligence.svc.cluster.local:8080"
    assert settings.own_secret == "edge-operator"


def test_shared_folders_and_allowed_internal_addresses_are_passed_to_the_store(
    render: Render,
) -> None:
    objects = render(
        "store.sharedFolders[0].path=/models",
        "store.sharedFolders[0].volume.nfs.server=nas",
        "store.sharedFolders[0].volume.nfs.path=/exported",
        "store.allowInternal[0]=10.1.0.0/16",
    )
    pod = _one(objects, "Deployment", "model-store")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][-2:] == ["--shared-folder=/models", "--allow-internal=10.1.0.0/16"]
    assert {"name": "shared-0", "mountPath": "/models", "readOnly": True} in container["volumeMounts"]
    assert {"name": "shared-0", "nfs": {"server": "nas", "path": "/exported"}} in pod["volumes"]


@pytest.mark.parametrize("other", ["operator.tlsSecret=a", "runtime.tlsSecret=a"])
def test_a_store_that_no_client_could_reach_is_refused(helm: Helm, other: str) -> None:
    values = ("--set", "tls.mode=Secrets", "--set", "store.tlsSecret=edge-store", "--set", other)
    done = helm("template", "test", str(CHART), "--kube-version", "1.34.2", *values)
    assert done.returncode != 0
    assert mentions("store.tlsSecret", "operator", "runtimes").search(done.stderr)


@pytest.mark.parametrize("part", ["operator", "runtime", "store"])
@pytest.mark.parametrize("mode", ["Auto", "Disabled"])
def test_a_secret_that_the_mode_does_not_use_is_refused(helm: Helm, part: str, mode: str) -> None:
    values = ("--set", f"tls.mode={mode}", "--set", f"{part}.tlsSecret=mine")
    done = helm("template", "test", str(CHART), "--kube-version", "1.34.2", *values)
    assert done.returncode != 0
    assert mentions(f"{part}.tlsSecret", "mine", f"tls.mode {mode}", "tls.mode=Secrets").search(done.stderr)


def test_by_default_the_operator_issues_the_certificates_of_all_parts(render: Render) -> None:
    objects = render()
    operator = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    settings = Settings.from_environment({v["name"]: v.get("value", "x") for v in operator["env"]})
    assert settings.issues_certificates
    # A folder of its own, since no Secret can be mounted before the operator has made it.
    writable = next(m for m in operator["volumeMounts"] if settings.tls_dir.startswith(f"{m['mountPath']}/"))
    assert not writable.get("readOnly")
    assert settings.own_secret == OPERATOR_SECRET
    pod = _one(objects, "Deployment", "model-store")["spec"]["template"]["spec"]
    assert {"name": "tls", "secret": {"secretName": STORE_SECRET, "defaultMode": 0o440}} in pod["volumes"]
    (store,) = pod["containers"]
    assert {"--tls-dir=/etc/edge/tls", "--tls-clients=optional", "--health-port=8082"} <= set(store["args"])
    (open_store,) = _one(render("store.tokens=false"), "Deployment", "model-store")["spec"]["template"][
        "spec"
    ]["containers"]
    assert "--tls-clients=optional" not in open_store["args"]


def test_images_default_to_the_charts_version(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    images = {c["image"] for d in _deployments(render()) for c in d["spec"]["template"]["spec"]["containers"]}
    assert images == {f"edge-intelligence/operator:{version}", f"edge-intelligence/runtime:{version}"}


def test_the_stores_data_goes_where_the_values_say(render: Render) -> None:
    def data(*values: str) -> Any:
        volumes = _one(render(*values), "Deployment", "model-store")["spec"]["template"]["spec"]["volumes"]
        return next(volume for volume in volumes if volume["name"] == "data")

    # Without a cluster, helm sees no default StorageClass.
    assert data() == data("store.persistence.enabled=false") == {"name": "data", "emptyDir": {}}
    kept = data("store.persistence.enabled=true")
    assert kept["persistentVolumeClaim"] == {"claimName": "model-store"}
    claim = _one(render("store.persistence.enabled=true"), "PersistentVolumeClaim", "model-store")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    theirs = ("store.persistence.existingClaim=mine",)
    assert data(*theirs)["persistentVolumeClaim"] == {"claimName": "mine"}
    assert "PersistentVolumeClaim" not in {body["kind"] for body in render(*theirs)}


def test_both_pods_can_be_kept_on_chosen_nodes(render: Render) -> None:
    objects = render("operator.nodeSelector.tier=cloud", "store.nodeSelector.tier=cloud")
    for deployment in _deployments(objects):
        assert deployment["spec"]["template"]["spec"]["nodeSelector"] == {"tier": "cloud"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("store.replicas=2", "replicas"),
        ("oprator.image.tag=1", "oprator"),
        ("runtime.image.pullPolicy=Sometimes", "pullPolicy"),
        ("operator.watchNamespace=Not_A_Name", "watchNamespace"),
        ("store.persistence.size=big", "size"),
        ("store.persistence.enabled=perhaps", "enabled"),
        ("operator.image.digest=sha256:0", "digest"),
        ("global.imageRegistry=registry.example.com/", "imageRegistry"),
        ("networkPolicies.client=1", "client"),
        ("triton.gpus=-1", "gpus"),
        ("operator.logFormat=xml", "logFormat"),
        ("runtime.tlsSecret=Not_A_Name", "tlsSecret"),
        ("operator.tlsSecret=Not_A_Name", "tlsSecret"),
        ("runtime.grpc.grpc-keepalive-time=1", "grpc-keepalive-time"),
        ("runtime.grpc.keepalive-time=60000", "keepalive-time"),
        ("tracing.endpoint=collector:4317", "endpoint"),
        ("tracing.ratio=2", "ratio"),
        ("tracing.ratio=0.x", "ratio"),
    ],
)
def test_an_unknown_value_of_the_chart_is_refused_by_name(helm: Helm, value: str, said: str) -> None:
    done = helm("template", "test", str(CHART), "--kube-version", "1.34.2", "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


def test_servers_are_preferred_and_cameras_avoided_until_a_value_says_otherwise(render: Render) -> None:
    for deployment in _deployments(render("triton.enabled=true")):
        pod = deployment["spec"]["template"]["spec"]
        preferred = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        terms = [(term["weight"], term["preference"]["matchExpressions"][0]) for term in preferred]
        assert [(weight, term["key"], term["operator"]) for weight, term in terms] == [
            (100, "edge-intelligence.io/tier", "In"),
            (50, "node-role.kubernetes.io/control-plane", "Exists"),
            (20, "edge-intelligence.io/device-class", "DoesNotExist"),
        ]
        assert {each["key"] for each in pod["tolerations"]} == {
            "node-role.kubernetes.io/control-plane",
            "CriticalAddonsOnly",
        }
    own = "operator.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution=null"
    pod = _one(render(own, "operator.affinity.nodeAffinity.x=1"), "Deployment", "edge-operator")
    assert pod["spec"]["template"]["spec"]["affinity"]["nodeAffinity"] == {"x": 1}


def test_images_have_a_host_and_a_digest_if_the_values_have(render: Render) -> None:
    digest = f"sha256:{'a' * 64}"
    objects = render(
        "global.imageRegistry=registry.example.com/mirror",
        f"runtime.image.digest={digest}",
        "triton.enabled=true",
    )
    images = {
        body["metadata"]["name"]: body["spec"]["template"]["spec"]["containers"][0]["image"]
        for body in _deployments(objects)
    }
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    mirror = "registry.example.com/mirror"
    assert images == {
        "edge-admission": f"{mirror}/edge-intelligence/operator:{version}",
        "edge-console": f"{mirror}/edge-intelligence/operator:{version}",
        "edge-operator": f"{mirror}/edge-intelligence/operator:{version}",
        "model-store": f"{mirror}/edge-intelligence/runtime:{version}@{digest}",
        "triton": f"{mirror}/nvidia/tritonserver:25.06-py3",
    }
    variables = _variables(objects)
    assert variables["EDGE_RUNTIME_IMAGE"] == images["model-store"]
    (other,) = [
        body for body in _deployments(render("triton.enabled=true")) if body["metadata"]["name"] == "triton"
    ]
    assert (
        other["spec"]["template"]["spec"]["containers"][0]["image"] == "nvcr.io/nvidia/tritonserver:25.06-py3"
    )


def _variables(objects: list[dict[str, Any]]) -> dict[str, str]:
    container = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable.get("value", "from-the-pod") for variable in container["env"]}


def test_priority_classes_are_made_and_named_or_taken_from_the_values(render: Render) -> None:
    objects = render()
    made = {body["metadata"]["name"]: body for body in objects if body["kind"] == "PriorityClass"}
    assert {name: body.get("preemptionPolicy") for name, body in made.items()} == {
        "edge-intelligence-edge-system": None,
        "edge-intelligence-edge-runtime": "Never",
    }
    assert all(body["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for body in made.values())
    assert {d["spec"]["template"]["spec"]["priorityClassName"] for d in _deployments(objects)} == {
        "edge-intelligence-edge-system"
    }
    assert Settings.from_environment(_variables(objects)).priority_class == "edge-intelligence-edge-runtime"
    without = render("priorityClasses.create=false", "store.priorityClassName=mine")
    assert not [body for body in without if body["kind"] == "PriorityClass"]
    assert Settings.from_environment(_variables(without)).priority_class == ""
    classes = {
        d["metadata"]["name"]: d["spec"]["template"]["spec"].get("priorityClassName")
        for d in _deployments(without)
    }
    parts = dict.fromkeys(("edge-admission", "edge-console", "edge-operator"))
    assert classes == parts | {"model-store": "mine"}


def test_every_pod_of_the_chart_has_a_network_policy_and_no_others(render: Render) -> None:
    objects = render("triton.enabled=true")
    policies = [body["spec"] for body in objects if body["kind"] == "NetworkPolicy"]
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies)
    selectors = [policy["podSelector"]["matchLabels"] for policy in policies]
    assert {} not in selectors
    for deployment in _deployments(objects):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert sum(selector.items() <= labels.items() for selector in selectors) == 1
    assert not [body for body in render("networkPolicies.enabled=false") if body["kind"] == "NetworkPolicy"]


def test_the_store_accepts_the_operators_pods_and_those_that_the_values_name(render: Render) -> None:
    objects = render(
        "networkPolicies.uploads[0].podSelector.matchLabels.app=ci", "networkPolicies.metrics=null"
    )
    policy = _one(objects, "NetworkPolicy", "model-store")["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": "http"}]
    operator, jobs, named = rule["from"]
    assert operator["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "edge-operator"
    runtime, host = Runtime("shop", "edge-a"), Host("edge-a", ready=True)
    settings = Settings.from_environment(_variables(objects))
    labels = runtime_deployment(runtime, host, settings, SURGE)["spec"]["template"]["metadata"]["labels"]
    selector = jobs["podSelector"]
    assert jobs["namespaceSelector"] == {}
    assert selector["matchLabels"].items() <= labels.items()
    (component,) = selector["matchExpressions"]
    assert labels[component["key"]] in component["values"]
    assert named == {"podSelector": {"matchLabels": {"app": "ci"}}}


def test_a_bundled_triton_has_the_flags_that_the_operator_requires_and_its_key(render: Render) -> None:
    objects = render("triton.enabled=true", "triton.gpus=1", "triton.args={--log-verbose=1}")
    container = _one(objects, "Deployment", "triton")["spec"]["template"]["spec"]["containers"][0]
    assert {
        "--model-control-mode=explicit",
        "--strict-readiness=false",
        "--http-restricted-api=model-repository:edge-model-control=$(CONTROL_KEY)",
        "--grpc-restricted-protocol=model-repository:edge-model-control=$(CONTROL_KEY)",
        "--log-verbose=1",
    } <= set(container["args"])
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert _one(objects, "Secret", "triton-control")["data"]["key"]
    role = _one(objects, "Role", "edge-operator-jobs")
    assert ["triton-control"] in [rule.get("resourceNames") for rule in role["rules"]]


def test_the_helm_test_sends_inferences_by_a_command_that_the_operator_has(render: Render) -> None:
    objects = render("operator.watchNamespace=shop")
    pod = _one(objects, "Pod", "edge-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    parsed = _operator_parser().parse_args(pod["spec"]["containers"][0]["args"])
    assert (parsed.command, parsed.namespace) == ("send-inferences", "shop")


@pytest.mark.parametrize("watched", [None, "shop"])
def test_a_hook_after_the_uninstallation_removes_finalizers_where_the_operator_set_them(
    render: Render, watched: str | None
) -> None:
    objects = render(*([f"operator.watchNamespace={watched}"] if watched else []))
    hooks = [body for body in objects if "edge-finalizers" in body["metadata"]["name"]]
    assert len(hooks) == 8
    assert {body["metadata"]["annotations"]["helm.sh/hook"] for body in hooks} == {"post-delete"}
    job = _one(objects, "Job", "edge-finalizers")
    pod = job["spec"]["template"]
    parsed = _operator_parser().parse_args(pod["spec"]["containers"][0]["args"])
    namespace = job["metadata"]["namespace"]
    assert (parsed.command, parsed.installed_in, parsed.namespace) == (
        "remove-finalizers",
        namespace,
        watched,
    )
    operator = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["metadata"]["labels"]
    key, name = OPERATOR_PODS.split("=")
    assert operator[key] == name != pod["metadata"]["labels"][key]
    bound = {body["roleRef"]["name"]: body for body in hooks if "roleRef" in body}
    services, others = bound[f"{namespace}-edge-finalizers"], bound[f"{namespace}-edge-finalizers-cluster"]
    assert services["kind"] == ("RoleBinding" if watched else "ClusterRoleBinding")
    assert services["metadata"].get("namespace") == watched
    assert others["kind"] == "ClusterRoleBinding"
    granted = {
        resource: rule["verbs"]
        for body in hooks
        if body["kind"] == "ClusterRole"
        for rule in body["rules"]
        for resource in rule["resources"]
    }
    verbs = ["get", "list", "patch"]
    assert granted == {"inferenceservices": verbs, "devicepools": verbs, "tenants": verbs}


def test_every_value_is_used_by_a_template() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())

    # Parts of Kubernetes objects, which templates copy.
    objects = {"resources", "instanceSelector"}

    def names(tree: Any) -> set[str]:
        if not isinstance(tree, dict):
            return set()
        return set(tree) | {
            name for key, branch in tree.items() if key not in objects for name in names(branch)
        }

    unused = {name for name in names(values) if f".{name}" not in templates}
    assert unused == set()


def test_the_notes_say_what_to_do_next() -> None:
    said = (CHART / "templates" / "NOTES.txt").read_text()
    assert {"ei put", "ei doctor", "ei status"} <= set(re.findall(r"ei [a-z]+", said))


@pytest.mark.parametrize("given", [None, "mine"])
def test_a_hook_names_a_priority_class_only_if_it_is_given(render: Render, given: str | None) -> None:
    objects = render(*([f"operator.priorityClassName={given}"] if given else []))
    job = _one(objects, "Job", "edge-finalizers")
    assert job["spec"]["template"]["spec"].get("priorityClassName") == given
    operator = _one(objects, "Deployment", "edge-operator")["spec"]["template"]["spec"]
    assert operator["priorityClassName"] == given or given is None
