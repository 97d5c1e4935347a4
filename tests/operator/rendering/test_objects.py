"""The objects that the operator writes."""

from dataclasses import replace
from typing import Any

import pytest

from edge_api.devicepools import SharedMemory
from edge_api.policies import Isolation
from edge_api.validation_messages import problems
from edge_operator.names import dns_label, label_value
from edge_operator.nodes.access import shared_access
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import (
    client_service,
    profile_job,
    runtime_deployment,
    runtime_service,
    traffic_distribution,
)
from edge_operator.settings import Settings

World = Any  # tests/operator/conftest.py

SERVICE = {"metadata": {"name": "digits", "namespace": "shop", "uid": "u-1"}}
DIGEST = "sha256:" + "a" * 64
SETTINGS = Settings("http://store:8080", "edge-runtime:1", pull_secrets=("pull",))
SHARED, DEDICATED = Runtime("shop", "edge-a"), Runtime("shop", "edge-a", "digits")
HOST = Host("host-a", ready=True)


def _deployment(settings: Settings = SETTINGS, runtime: Runtime = SHARED) -> Any:
    return runtime_deployment(runtime, HOST, settings, SURGE)


def test_every_pod_is_confined() -> None:
    job = profile_job("camera", "factory-1", DIGEST, "edge-b", "edge-b", SETTINGS, annotations={})
    for pod in (_deployment()["spec"]["template"]["spec"], job["spec"]["template"]["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        container = pod["containers"][0]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
        assert "limits" not in container["resources"]


def test_an_entry_pod_stays_on_its_node_when_the_control_plane_cannot_see_it() -> None:
    pod = _deployment()["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "host-a"}
    assert all("tolerationSeconds" not in toleration for toleration in pod["tolerations"])
    assert {t["key"].rsplit("/", 1)[1] for t in pod["tolerations"]} == {"not-ready", "unreachable"}


def test_the_deployment_is_the_same_whatever_the_services_and_their_plans() -> None:
    arguments = _deployment()["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == [
        *("run", "--namespace", "shop", "--node", "edge-a"),
        *("--store", "http://store:8080", "--cache-dir", "/var/cache/edge"),
        *("--http-port", "8080", "--grpc-port", "8081"),
    ]


SHARED_MEMORY = SharedMemory(claim_name="frames", namespaces=("shop",), owners=(1000, 1001))


@pytest.mark.parametrize("namespace", ["shop", "bank"])
def test_runtimes_of_the_listed_namespaces_mount_the_claim_of_the_group(namespace: str) -> None:
    host = replace(HOST, shared_memory=SHARED_MEMORY)
    made = runtime_deployment(Runtime(namespace, "edge-a"), host, SETTINGS, SURGE)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    claims = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
    mounts = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "shared-memory"]
    flags = [each for each in container["args"] if each.startswith("--shared-memory")]
    if namespace == "bank":
        assert (claims, mounts, flags) == ([], [], [])
        return
    claim = {"claimName": "frames"}
    assert claims == [{"name": "shared-memory", "persistentVolumeClaim": claim}]
    (path,) = mounts
    assert container["args"][container["args"].index("--shared-memory") + 1] == path
    assert flags == ["--shared-memory", "--shared-memory-owner=1000", "--shared-memory-owner=1001"]
    assert not any("hostPath" in each for each in pod["volumes"])


def test_a_dedicated_runtime_serves_one_service_and_shared_selectors_leave_it_out() -> None:
    shared, own = _deployment(), _deployment(runtime=DEDICATED)
    arguments = own["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--service") + 1] == "digits"
    assert shared["metadata"]["name"] != own["metadata"]["name"]
    assert shared["spec"]["selector"] != own["spec"]["selector"]
    pairs: list[tuple[Any, Isolation]] = [(shared, "Shared"), (own, "Dedicated")]
    for made, isolation in pairs:
        selector = client_service(SERVICE, isolation, SETTINGS)["spec"]["selector"]
        selects = [
            selector.items() <= pod["spec"]["template"]["metadata"]["labels"].items() for pod in (shared, own)
        ]
        assert selects == [made is shared, made is own]


def test_a_selector_has_the_name_alone_so_that_all_other_labels_can_change() -> None:
    made = _deployment()
    selector = {"edge-intelligence.io/runtime": "edge-runtime-edge-a"}
    assert made["spec"]["selector"] == {"matchLabels": selector}
    assert made["spec"]["template"]["metadata"]["labels"].items() > selector.items()
    assert runtime_service(SHARED, SETTINGS)["spec"]["selector"] == selector


def test_a_client_prefers_the_runtime_of_its_node_where_the_api_server_can_do_that() -> None:
    for version, distribution in (
        ((1, 30), None),
        ((1, 31), "PreferClose"),
        ((1, 33), "PreferClose"),
        ((1, 34), "PreferSameNode"),
        ((2, 0), "PreferSameNode"),
    ):
        settings = replace(SETTINGS, traffic_distribution=traffic_distribution(version))
        spec = client_service(SERVICE, "Shared", settings)["spec"]
        assert spec.get("trafficDistribution") == distribution
        assert spec["internalTrafficPolicy"] == "Cluster"
        assert [port["port"] for port in spec["ports"]] == [8080, 8081]


def test_services_are_of_both_families_where_the_cluster_has_both() -> None:
    made = [client_service(SERVICE, "Shared", SETTINGS), runtime_service(SHARED, SETTINGS)]
    assert [o["spec"].get("ipFamilyPolicy") for o in made] == ["PreferDualStack"] * 2
    assert "0.0.0.0" not in str(made)


def test_runtimes_know_another_domain_of_the_cluster_by_which_they_reach_each_other() -> None:
    arguments = _deployment(replace(SETTINGS, cluster_domain="edge.example"))["spec"]["template"]["spec"]
    assert arguments["containers"][0]["args"][-2:] == ["--cluster-domain", "edge.example"]


def test_flags_for_grpc_connections_reach_every_runtime() -> None:
    told = replace(SETTINGS, grpc_flags={"grpc-keepalive-time": 60_000})
    deployment = _deployment(told)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--grpc-keepalive-time=60000"


def test_with_a_secret_runtimes_speak_tls_and_keep_a_plain_port_for_probes_and_metrics() -> None:
    guarded = replace(SETTINGS, tls_secret="edge-runtimes")
    service, deployment = runtime_service(SHARED, guarded), _deployment(guarded)
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["args"][-4:] == ["--tls-dir", "/etc/edge/tls", "--health-port", "8082"]
    assert {"name": "tls", "mountPath": "/etc/edge/tls", "readOnly": True} in container["volumeMounts"]
    secret = {"secretName": "edge-runtimes", "defaultMode": 0o440}
    assert {"name": "tls", "secret": secret} in template["spec"]["volumes"]
    assert {"name": "health", "containerPort": 8082} in container["ports"]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == "health"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "8082"
    assert {port["appProtocol"] for port in service["spec"]["ports"]} == {"https"}
    assert "env" not in container


def test_a_measurement_asks_a_store_with_tls_by_the_operators_own_certificates() -> None:
    def pod(url: str) -> Any:
        settings = replace(SETTINGS, store_url=url, own_secret="edge-operator")
        job = profile_job("camera", "factory-1", DIGEST, "edge-b", "edge-b", settings, annotations={})
        return job["spec"]["template"]["spec"]

    guarded = pod("https://store:8080")
    (container,) = guarded["containers"]
    assert container["args"][-4:] == ["--store", "https://store:8080", "--tls-dir", "/etc/edge/tls"]
    assert {"name": "tls", "mountPath": "/etc/edge/tls", "readOnly": True} in container["volumeMounts"]
    secret = {"secretName": "edge-operator", "defaultMode": 0o440}
    assert {"name": "tls", "secret": secret} in guarded["volumes"]
    assert "--tls-dir" not in pod("http://store:8080")["containers"][0]["args"]


def test_with_a_collector_runtimes_get_opentelemetrys_own_variables() -> None:
    traced = replace(SETTINGS, tracing_endpoint="http://collector:4318", tracing_ratio=0.01)
    deployment = _deployment(traced)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {variable["name"]: variable["value"] for variable in container["env"]} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=shop,k8s.node.name=edge-a",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }


def test_what_services_share_has_no_owner_among_them_and_is_known_as_the_operators() -> None:
    shared = [*shared_access("shop", "edge-runtime-role"), runtime_service(SHARED, SETTINGS), _deployment()]
    for made in shared:
        assert "ownerReferences" not in made["metadata"]
        assert made["metadata"]["namespace"] == "shop"
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "edge-intelligence"
    own = client_service(SERVICE, "Shared", SETTINGS)
    assert [owner["uid"] for owner in own["metadata"]["ownerReferences"]] == ["u-1"]


def test_the_runtimes_of_a_namespace_have_one_account_which_is_bound_to_the_charts_role() -> None:
    account, binding = shared_access("shop", "edge-runtime-role")
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert binding["roleRef"]["name"] == binding["metadata"]["name"] == "edge-runtime-role"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "edge-runtime", "namespace": "shop"}]
    pod = _deployment()["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"] == "edge-runtime"


def test_names_fit_into_what_kubernetes_allows() -> None:
    long = dns_label("a" * 80)
    assert len(long) <= 63
    assert long != dns_label("a" * 81)
    assert len(label_value("n" * 253)) <= 63


def test_placements_are_what_the_api_accepts_and_name_all_that_a_runtime_needs(world: World) -> None:
    world.reconcile()
    placement = world.placements()["cam-1"]
    assert problems(placement) == []
    spec = placement["spec"]
    assert spec["link"] == {
        "peer": "cloud",
        "probe": "http://triton.test:8000/v2/health/live",
        "interval": "2s",
        "budget": "16Mi",
        "roundTrip": "2ms",
    }
    assert spec["reportInterval"] == "8s"
    assert placement["metadata"]["labels"]["edge-intelligence.io/pool"] == "factory"
    assert [output["name"] for output in spec["model"]["outputs"]] == ["logits"]
    assert spec["slo"] == {"latency": "90ms", "percentile": 95, "objective": 0.95}
    names = [route["name"] for route in spec["routes"]]
    assert names == ["final@image", "final@pool1", "exit1@local"]
    first, second, last = spec["routes"]
    assert [stage["runtime"] for stage in first["stages"]] == ["Triton"]
    assert [stage["runtime"] for stage in second["stages"]] == ["Edge", "Triton"]
    assert [stage["runtime"] for stage in last["stages"]] == ["Edge"]
    head, tail = second["stages"]
    assert head["slice"]["outputs"][0]["name"] == tail["slice"]["inputs"][0]["name"] == "pool1"
    assert tail["address"] == "http://triton.test:8000"
    assert (last["cut"], last["minBandwidth"]) == ("local", "0")


def test_every_mode_gives_the_routes_that_it_stands_for(world: World) -> None:
    routes = {}
    for mode in ("LocalOnly", "CloudOnly", "PartitionOnly", "RightSizingOnly"):
        world.change(mode=mode)
        world.reconcile()
        routes[mode] = [route["name"] for route in world.placements()["cam-1"]["spec"]["routes"]]
    assert routes["LocalOnly"] == ["final@local"]
    assert routes["CloudOnly"] == ["final@image"]
    assert routes["RightSizingOnly"] == ["exit1@local"]
    assert {name.split("@")[0] for name in routes["PartitionOnly"]} == {"final"}
    assert routes["PartitionOnly"][-1] == "final@local"
