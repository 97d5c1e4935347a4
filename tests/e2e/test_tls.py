"""By default, nodes and the model store serve TLS with certificates that the operator issues and renews."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.installation import NAMESPACE, authority
from trials import GATEWAY, Trial

SECRET, PEER_PORT = "edge-runtime-tls", 8443
RUNTIME = f"edge-runtime-{GATEWAY}"
# Connects, sends a GET for the readiness, and prints the status and the server's certificate, or the error.
ASK = """
import http.client, json, socket, ssl, sys
host, port, name, path, folder, shown = sys.argv[1:]
try:
    sock = socket.create_connection((host, int(port)), timeout=20)
    if folder:
        context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
        if shown:
            context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
        sock = context.wrap_socket(sock, server_hostname=name)
    certificate = ssl.DER_cert_to_PEM_cert(sock.getpeercert(True)) if folder else ""
    connection = http.client.HTTPConnection(name)
    connection.sock = sock
    connection.request("GET", path)
    status = connection.getresponse().status
    print(json.dumps({"status": status, "certificate": certificate}))
except (OSError, http.client.HTTPException) as error:
    print(json.dumps({"error": repr(error)}))
"""


def mounted(trial: Trial, folder: Path, secret: str = SECRET, namespace: str = "default") -> Path:
    """A folder with a certificate; by default that of the namespace's runtimes."""
    folder.mkdir(exist_ok=True)
    for name, data in trial.get("secret", secret, namespace)["data"].items():
        (folder / name).write_bytes(base64.b64decode(data))
    return folder


def ask(
    trial: Trial,
    service: str,
    namespace: str,
    port: int,
    path: str,
    folder: Path | None,
    *,
    shown: bool = False,
) -> dict[str, Any]:
    """Asks a Service from the cloud node. folder: of certificates, for TLS; shown: whether to present one."""
    address = trial.get("service", service, namespace)["spec"]["clusterIP"]
    name = f"{service}.{namespace}.svc"
    argv = [*trial.bed.in_node("cloud"), sys.executable, "-c", ASK, address, str(port), name, path]
    argv += [str(folder or ""), "yes" if shown else ""]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder(trial: Trial, tmp_path: Path) -> Path:
    """Certificates of the namespace, once every runtime says that it uses them."""
    trial.wait(
        "runtimes that serve TLS for other nodes",
        lambda: all(p.get("status", {}).get("peerScheme") == "HTTPS" for p in trial.placements().values()),
    )
    return mounted(trial, tmp_path / "tls")


def test_the_ports_for_other_nodes_refuse_a_pod_without_a_certificate(trial: Trial, folder: Path) -> None:
    asked = (trial, RUNTIME, "default", PEER_PORT, "/v2/health/ready")
    assert ask(*asked, folder, shown=True).get("status") == 200
    assert "error" in ask(*asked, folder)
    assert "error" in ask(*asked, None)


def test_the_ports_for_other_nodes_refuse_other_certificates_of_the_installation(
    trial: Trial, folder: Path, tmp_path: Path
) -> None:
    other = mounted(trial, tmp_path / "store", "model-store-tls", NAMESPACE)
    asked = (trial, RUNTIME, "default", PEER_PORT, "/v2/health/ready")
    assert ask(*asked, other, shown=True).get("status") == 403


def test_the_store_serves_tls_only_and_requires_a_token(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(authority(trial.cluster))
    asked = (trial, "model-store", NAMESPACE, 8080)
    assert ask(*asked, "/v1/health/ready", tmp_path).get("status") == 200
    assert ask(*asked, "/v1/files/digits/digits.onnx", tmp_path).get("status") == 401
    assert "error" in ask(*asked, "/v1/health/ready", None)


def test_the_pool_reports_that_its_certificates_are_issued(trial: Trial) -> None:
    def issued() -> bool:
        conditions = trial.get("devicepool", "factory")["status"]["conditions"]
        return ("CertificatesIssued", "Issued") in {(each["type"], each["reason"]) for each in conditions}

    trial.wait("the condition CertificatesIssued", issued)


def test_placements_have_a_label_for_nodes_that_are_reached_by_tls(trial: Trial, folder: Path) -> None:
    trial.wait(
        "labels",
        lambda: all(
            p["metadata"]["labels"].get("edge-intelligence.io/peer-scheme") == "HTTPS"
            for p in trial.placements().values()
        ),
    )


def test_a_renewed_certificate_is_used_without_a_restart_and_costs_no_request(
    trial: Trial, folder: Path
) -> None:
    before = trial.get("secret", SECRET)["data"]["tls.crt"]
    asked = (trial, RUNTIME, "default", PEER_PORT, "/v2/health/ready")
    pods = trial.cluster.kubectl("get", "pods", "-n", "default", "-o", "name")
    with trial.load(GATEWAY) as load:
        trial.cluster.kubectl("delete", "secret", SECRET, "-n", "default")
        trial.cluster.kubectl("rollout", "restart", "deployment/edge-operator", "-n", NAMESPACE)

        def renewed() -> bool:
            found = trial.cluster.kubectl(
                "get", "secret", SECRET, "-n", "default", "--ignore-not-found", "-o", "json"
            )
            return bool(found.strip()) and json.loads(found)["data"]["tls.crt"] != before

        trial.wait("a new certificate", renewed)
        current = mounted(trial, folder)

        def used() -> bool:
            found = ask(*asked, current, shown=True)
            return bool(found.get("certificate", "").split() == (current / "tls.crt").read_text().split())

        trial.wait("a runtime that uses it", used)
        load.wait_for("a response", lambda answer: "error" not in answer)
    load.check_none_lost()
    assert trial.cluster.kubectl("get", "pods", "-n", "default", "-o", "name") == pods
