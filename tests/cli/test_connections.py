"""Requests of `ei` to an API server: a server on this machine answers them."""

import datetime
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_cli import connections
from edge_cli.doctor.gathering import gathered
from edge_cli.doctor.kubernetes import INSTALLING
from edge_cli.doctor.rights import required
from edge_cli.errors import CommandError, ExitStatus
from messages import mentions
from operator_objects import node_body

Ei = Any
AHEAD = 60.0
LISTS = {
    "/api/v1/nodes": [node_body("cam-1", "camera"), node_body("cam-2", "camera", ready=False)],
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases": [
        {"metadata": {"name": name}, "spec": {"renewTime": None}} for name in ("cam-1", "cam-2")
    ],
}


class ApiAnswers(BaseHTTPRequestHandler):
    """Answers as an API server: empty lists, reviews that allow all but resizing pods, no tokens."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/version":
            self._answer(200, {"major": "1", "minor": "34+"})
            return
        items = json.loads(json.dumps(LISTS.get(path, [])))
        ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=AHEAD)
        for each in items:
            if "renewTime" in (each.get("spec") or {}):
                each["spec"]["renewTime"] = ahead.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._answer(200, {"items": items, "metadata": {}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/token"):
            said = 'serviceaccounts "default" is forbidden: User "dev" cannot create resource'
            self._answer(403, {"kind": "Status", "message": said})
            return
        attributes = body["spec"]["resourceAttributes"]
        self._answer(201, {"status": {"allowed": attributes.get("subresource") != "resize"}})

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keeps standard error clean."""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiAnswers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
            ],
            "users": [{"name": "me", "user": {"token": "none"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "shop"}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        yield path
        server.shutdown()
        thread.join()


def test_the_clock_of_the_api_server_is_read(kubeconfig: Path) -> None:
    here = connections.connect(None, None, kubeconfig)
    time = here.server_time()
    assert time is not None
    assert abs((time - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60


def test_a_token_that_is_refused_has_the_status_of_a_missing_right(kubeconfig: Path) -> None:
    here = connections.connect(None, None, kubeconfig)
    with pytest.raises(CommandError, match=mentions("forbidden")) as raised:
        here.create("/api/v1/namespaces/shop/serviceaccounts/default/token", {})
    assert raised.value.status == ExitStatus.DENIED


def test_rights_are_reviewed_and_clocks_of_ready_nodes_compared(kubeconfig: Path) -> None:
    state = gathered(connections.connect(None, None, kubeconfig))
    assert state.version == (1, 34)
    assert set(state.rights) == set(required("edge-intelligence", None))
    assert [str(right) for right, allowed in state.rights.items() if not allowed] == ["patch pods/resize"]
    assert set(state.clocks) == {"this machine", "node cam-1"}
    assert state.clocks["node cam-1"] == pytest.approx(AHEAD, abs=30)


def test_before_the_installation_the_rights_of_this_account_are_reviewed(kubeconfig: Path) -> None:
    state = gathered(connections.connect(None, None, kubeconfig), before=True)
    assert state.own_rights == dict.fromkeys(INSTALLING, True)
    assert state.rights == {}


def test_an_api_server_that_is_gone_is_the_only_finding(run: Ei, tmp_path: Path, kubeconfig: Path) -> None:
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    gone = tmp_path / "gone"
    gone.write_text(yaml.safe_dump(document))
    done = run("doctor", "--kubeconfig", str(gone), "-o", "json")
    assert done.status == ExitStatus.PROBLEM
    assert [each["code"] for each in done.document["checks"] if each.get("findings")] == ["EI0101"]
    assert run("status", "--kubeconfig", str(gone)).status == ExitStatus.UNREACHABLE
    put = tmp_path / "model.onnx"
    put.write_bytes(b"x")
    assert run("put", str(put), "--kubeconfig", str(gone)).status == ExitStatus.UNREACHABLE
