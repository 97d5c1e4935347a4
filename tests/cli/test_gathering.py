"""What `ei doctor` reads of a cluster and of Triton, and how pods are reached through the API server."""

import base64
import datetime
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_cli import forwarding, uploads
from edge_cli.connections import Connection
from edge_cli.doctor.gathering import gathered
from edge_cli.doctor.probing import called, seen_servers
from edge_cli.doctor.states import ServerSeen
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.forwarding import Forwarder, chosen_pod, container_port
from edge_cli.inference import reached
from edge_operator.errors import PermissionDeniedError
from edge_operator.tritons.tail_models import installation_identity
from messages import mentions
from operator_objects import pool_body

World = Any
Ei = Any
SYSTEM = "edge-intelligence"


def certificate(days: int) -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def secret(name: str, days: int) -> dict[str, Any]:
    data = {"tls.crt": base64.b64encode(certificate(days).encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM},
        "data": data,
    }


def here(world: World) -> Connection:
    environment = {"EDGE_STORE": world.settings.store_url, "EDGE_RUNTIME_IMAGE": "edge-runtime:test"}
    return Connection(world.cluster, "default", None, environment)


def test_the_state_has_the_objects_of_the_operator_and_of_services(world: World) -> None:
    world.settle()
    world.cluster.put(secret("model-store-tls", -1))
    state = gathered(here(world))
    assert {"InferenceService", "DevicePool", "Node", "Placement"} <= state.objects.keys()
    assert {body["metadata"]["namespace"] for body in state.objects["Deployment"]} == {"default"}
    assert state.own_namespaces == {SYSTEM, "default"}
    uid = world.cluster.get(next(k for k in _kinds() if k.kind == "Namespace"), None, "kube-system")[
        "metadata"
    ]["uid"]
    assert state.installation == installation_identity(uid, SYSTEM, None)
    (one,) = state.certificates
    assert mentions("edge-intelligence/model-store-tls", "tls.crt").search(one.where)
    assert one.expires < state.now


def _kinds() -> tuple[Any, ...]:
    from edge_cli.doctor.states import EVERYWHERE

    return EVERYWHERE


def test_what_this_account_cannot_list_is_hidden_and_the_rest_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle()
    find = world.cluster.find

    def limited(kind: Any, namespace: str | None = None, labels: str = "") -> Any:
        if kind.kind == "Node" or (kind.kind == "Placement" and namespace is None):
            raise PermissionDeniedError(f"{kind.plural} is forbidden")
        return find(kind, namespace, labels)

    monkeypatch.setattr(world.cluster, "find", limited)
    state = gathered(here(world))
    assert set(state.hidden) == {"Node"}
    assert len(state.objects["Placement"]) == 3


def test_the_command_reports_on_a_cluster_in_which_nothing_is_installed(world: World, ei: Ei) -> None:
    done = ei("doctor", "-o", "json")
    assert done.status == ExitStatus.PROBLEM
    results = {each["code"]: each["result"] for each in done.document["checks"]}
    assert (results["EI0201"], results["EI0203"], results["EI0204"]) == ("error", "error", "skipped")
    before = ei("doctor", "--pre", "-o", "json").document
    assert {each["code"] for each in before["checks"]} == {"EI0101", "EI0102", "EI0103", "EI0104", "EI0105"}
    some = ei("doctor", "--category", "pools", "--suppress", "EI0401", "-o", "json").document
    assert [each["code"] for each in some["checks"]] == [f"EI040{number}" for number in range(2, 8)]
    assert "EI0201" in ei("doctor", "--short").out


class TritonAnswers(BaseHTTPRequestHandler):
    """Answers as Triton does. open: whether model control needs no key."""

    open = True

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/v2/health/live": {},
            "/v2/models/stats": {"model_stats": [{"name": "edge-c0ffee000000-x"}, {"name": "other"}]},
            "/v2/models/edge-c0ffee000000-x/config": {"parameters": {"owner": {"string_value": "somebody"}}},
        }
        self._answer(200 if self.path in answers else 404, answers.get(self.path, {}))

    def do_POST(self) -> None:
        self._answer(200 if self.open else 403, [])

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keeps standard error clean."""


@pytest.fixture
def triton() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), TritonAnswers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


SEEN = ServerSeen("factory", "cloud", "http://triton.test:8000")


@pytest.mark.parametrize("control_open", [True, False])
def test_a_server_that_responds_tells_its_tails_and_whether_control_is_open(
    triton: str, control_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TritonAnswers, "open", control_open)
    found = called(SEEN, f"http://{triton}", None)
    assert (found.reachable, found.control_open) == (True, control_open)
    assert found.marks == {"edge-c0ffee000000-x": {"owner": "somebody"}}


def test_a_server_that_does_not_respond_is_unreachable_with_the_cause() -> None:
    found = called(SEEN, "http://127.0.0.1:1", None)
    assert found.reachable is False
    assert found.said


def test_a_server_outside_the_cluster_that_only_this_machine_cannot_reach_is_not_reported(
    world: World,
) -> None:
    pool = pool_body()
    pool["spec"]["tritonServers"][0]["httpAddress"] = "127.0.0.1:1"
    (found,) = seen_servers(here(world), [pool])
    assert found.reachable is None


def in_cluster(world: World, *objects: dict[str, Any]) -> ServerSeen:
    pool = pool_body()
    pool["spec"]["tritonServers"][0]["httpAddress"] = "triton.gpu.svc.cluster.local:8000"
    for each in objects:
        world.cluster.put(each)
    (found,) = seen_servers(here(world), [pool])
    return found


def service(name: str, namespace: str, **port: Any) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 8000, **port}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def pod(name: str, namespace: str, *, ready: bool = True, node: str = "big") -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "args": ["tritonserver", "--strict-readiness=false"]}
    container["ports"] = [{"name": "http", "containerPort": 9000}]
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-0", "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running", "conditions": conditions},
    }


def test_a_server_in_the_cluster_without_a_service_or_a_ready_pod_is_unreachable(world: World) -> None:
    found = in_cluster(world)
    assert (found.reachable, mentions("gpu/triton").search(found.said) is not None) == (False, True)
    found = in_cluster(world, service("triton", "gpu"), pod("triton", "gpu", ready=False))
    assert found.reachable is False
    assert found.arguments == ("tritonserver", "--strict-readiness=false")


def test_the_command_line_of_a_server_without_pods_is_that_of_its_deployment(world: World) -> None:
    template = {"metadata": {"labels": {"app": "triton"}}, "spec": pod("triton", "gpu")["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "triton", "namespace": "gpu"},
        "spec": {"replicas": 0, "template": template},
    }
    found = in_cluster(world, service("triton", "gpu"), deployment)
    assert found.arguments == ("tritonserver", "--strict-readiness=false")


def test_a_pod_is_chosen_by_readiness_and_node(world: World) -> None:
    world.cluster.put(pod("digits", "default", node="cam-1"))
    body = service("digits", "default", targetPort="http")
    assert chosen_pod(here(world), body)["metadata"]["name"] == "digits-0"
    assert container_port(pod("digits", "default"), body, 8000) == 9000
    with pytest.raises(CommandError, match=mentions("--at:", "cam-7", "cam-1")):
        chosen_pod(here(world), body, "cam-7")
    world.cluster.put(pod("digits", "default", ready=False))
    with pytest.raises(CommandError, match=mentions("default/digits")) as raised:
        chosen_pod(here(world), body)
    assert raised.value.status == ExitStatus.UNREACHABLE


class Stream:
    """A forwarded port whose far end answers in capitals."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        threading.Thread(target=self._serve, daemon=True).start()

    def socket(self, port: int) -> socket.socket:
        return self._near

    def error(self, port: int) -> str | None:
        return None

    def close(self) -> None:
        self._near.close()

    def _serve(self) -> None:
        with self._far:
            while data := self._far.recv(100):
                self._far.sendall(data.upper())


def asked(address: str, text: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        parts = []
        while data := client.recv(100):
            parts.append(data)
        return b"".join(parts)


def test_each_connection_to_a_forwarded_port_has_its_own_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Stream] = []

    def opens(self: Forwarder) -> Stream:
        opened.append(Stream())
        return opened[-1]

    monkeypatch.setattr(Forwarder, "_open", opens)
    with forwarding.forwarded(here(world), "default", "digits-0", 9000) as via:
        assert [asked(via.address, text) for text in (b"one", b"two" * 200)] == [b"ONE", b"TWO" * 200]
        assert len(opened) == 2
        address = via.address
    with pytest.raises(OSError, match=r"."):
        asked(address, b"closed")


def test_a_stream_that_cannot_be_opened_tells_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Forwarder) -> Stream:
        raise ConnectionError("pods digits-0 not found")

    monkeypatch.setattr(Forwarder, "_open", refuse)
    with forwarding.forwarded(here(world), "default", "digits-0", 9000) as via:
        assert asked(via.address, b"") == b""
        assert via.failure == "pods digits-0 not found"


def test_a_service_that_requires_certificates_or_does_not_exist_is_refused_with_what_to_do(
    world: World,
) -> None:
    with (
        pytest.raises(CommandError, match=mentions("default/lost", "-n")),
        reached(here(world), "lost", None, None),
    ):
        pass
    world.cluster.put(service("safe", "default", appProtocol="https"))
    with (
        pytest.raises(CommandError, match=mentions("default/safe", "--address")),
        reached(here(world), "safe", None, None),
    ):
        pass
    with reached(None, "digits", "10.0.0.1:8080", None) as url:
        assert url == "http://10.0.0.1:8080"


def test_the_store_is_reached_with_a_token_of_the_namespace_and_the_clusters_authority(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = service("model-store", SYSTEM)
    world.cluster.put(body | {"spec": {**body["spec"], "ports": [{"port": 8080}]}})
    world.cluster.put(pod("model-store", SYSTEM))
    ca = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "edge-ca", "namespace": SYSTEM}}
    world.cluster.put(ca | {"data": {"ca.crt": certificate(10)}})
    requests = []

    def create(self: Connection, path: str, body: dict[str, Any]) -> dict[str, Any]:
        requests.append((path, body["spec"]["audiences"]))
        return {"status": {"token": "secret"}}

    monkeypatch.delenv("EDGE_STORE_TOKEN", raising=False)
    monkeypatch.setattr(Connection, "create", create)
    monkeypatch.setattr(Forwarder, "_open", lambda self: Stream())
    environment = {"EDGE_STORE": f"https://model-store.{SYSTEM}.svc:8080", "EDGE_RUNTIME_IMAGE": "x"}
    with uploads.store_of(replace(here(world), environment=environment), "uploader") as client:
        assert client is not None
    assert requests == [("/api/v1/namespaces/default/serviceaccounts/uploader/token", ["edge-model-store"])]


def test_a_cluster_without_a_store_names_the_flag(world: World) -> None:
    with pytest.raises(CommandError, match=mentions("--store")), uploads.store_of(here(world), "default"):
        pass
