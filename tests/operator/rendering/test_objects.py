"""The objects that the operator writes."""

from dataclasses import replace
from typing import Any

from edge_api.validation_messages import problems
from edge_operator.names import dns_label, entry_service_name, label_value
from edge_operator.settings import Settings
from edge_operator.workloads import entry_objects, profile_job, runtime_access, service_objects

World = Any  # tests/operator/conftest.py

SERVICE = {"metadata": {"name": "digits", "namespace": "shop", "uid": "u-1"}}
DIGEST = "sha256:" + "a" * 64
SETTINGS = Settings("http://store:8080", "edge-runtime:1", pull_secrets=("pull",))


def _deployment() -> Any:
    return next(o for o in entry_objects(SERVICE, "edge-a", "host-a", SETTINGS) if o["kind"] == "Deployment")


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


def test_a_new_entry_pod_answers_before_the_old_one_goes() -> None:
    strategy = _deployment()["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_deployment_is_the_same_whatever_the_plan() -> None:
    arguments = _deployment()["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == [
        *("run", "--service", "digits", "--namespace", "shop", "--node", "edge-a"),
        *("--store", "http://store:8080", "--cache-dir", "/var/cache/edge"),
        *("--http-port", "8080", "--grpc-port", "8081"),
    ]


def test_a_client_on_an_entry_node_reaches_that_nodes_runtime_and_every_entry_has_a_service_of_its_own() -> (
    None
):
    shared = service_objects(SERVICE, SETTINGS)[0]
    assert shared["spec"]["internalTrafficPolicy"] == "Local"
    own = next(o for o in entry_objects(SERVICE, "edge-a", "edge-a", SETTINGS) if o["kind"] == "Service")
    assert own["metadata"]["name"] == "digits-edge-a"
    assert own["spec"]["selector"]["edge-intelligence.io/node"] == "edge-a"
    assert [port["port"] for port in own["spec"]["ports"]] == [8080, 8081]


def test_services_are_of_both_families_where_the_cluster_has_both() -> None:
    made = [*service_objects(SERVICE, SETTINGS), *entry_objects(SERVICE, "edge-a", "edge-a", SETTINGS)]
    policies = [o["spec"].get("ipFamilyPolicy") for o in made if o["kind"] == "Service"]
    assert policies == ["PreferDualStack"] * 2
    assert "0.0.0.0" not in str(made)


def test_flags_for_grpc_connections_reach_every_runtime() -> None:
    told = replace(SETTINGS, grpc_flags={"grpc-keepalive-time": 60_000})
    _, deployment = entry_objects(SERVICE, "edge-a", "host-a", told)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == "--grpc-keepalive-time=60000"


def test_with_a_secret_runtimes_speak_tls_and_keep_a_plain_port_for_probes_and_metrics() -> None:
    guarded = replace(SETTINGS, tls_secret="edge-runtimes")
    service, deployment = entry_objects(SERVICE, "edge-a", "host-a", guarded)
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
    deployment = entry_objects(SERVICE, "edge-a", "host-a", traced)[1]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {variable["name"]: variable["value"] for variable in container["env"]} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=shop,k8s.node.name=edge-a",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    }


def test_everything_goes_with_its_service() -> None:
    objects = (
        runtime_access(SERVICE)
        + service_objects(SERVICE, SETTINGS)
        + entry_objects(SERVICE, "edge-a", "edge-a", SETTINGS)
    )
    for made in objects:
        assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["u-1"]
        assert made["metadata"]["labels"]["edge-intelligence.io/service"] == "digits"
        assert made["metadata"]["namespace"] == "shop"


def test_runtimes_may_read_placements_and_report_on_them_and_nothing_else() -> None:
    role = next(o for o in runtime_access(SERVICE) if o["kind"] == "Role")
    assert role["rules"] == [
        {
            "apiGroups": ["edge-intelligence.io"],
            "resources": ["placements"],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": ["edge-intelligence.io"], "resources": ["placements/status"], "verbs": ["patch"]},
    ]


def test_names_fit_into_what_kubernetes_allows() -> None:
    assert entry_service_name("digits", "edge-a") == "digits-edge-a"
    dotted, hyphened = (
        entry_service_name("digits", "node.example"),
        entry_service_name("digits", "node-example"),
    )
    assert dotted != hyphened
    assert "." not in dotted
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
        "probe": "http://store.test:8080/v1/probe",
        "interval": "2s",
        "budget": "16Mi",
        "roundTrip": "2ms",
    }
    assert spec["reportInterval"] == "8s"
    assert placement["metadata"]["labels"]["edge-intelligence.io/pool"] == "factory"
    assert spec["model"]["output"]["name"] == "logits"
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
