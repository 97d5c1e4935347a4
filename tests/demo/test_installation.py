import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from demo import installation, uploading
from demo.clusters import Entrance, TritonAddress
from demo.errors import NotInTime, StepFailed
from demo.existing_cluster import ExistingCluster, images_from
from demo.services import condition_lines, not_carried_out, ready, routes_line, seconds
from messages import mentions

ROOT = Path(__file__).resolve().parents[2]


def placement(
    node: str,
    mode: str,
    *,
    generation: int = 2,
    observed: int = 2,
    loaded: bool = True,
    active: str = "exit5@local",
) -> dict[str, Any]:
    return {
        "metadata": {"name": f"digits.{node}", "generation": generation},
        "spec": {"node": node, "mode": mode, "routes": [{"name": "exit5@local"}]},
        "status": {
            "observedGeneration": observed,
            "loaded": loaded,
            "activeRoute": active,
            "message": "slice abc is not in the store",
        },
    }


@dataclass
class Recorded(ExistingCluster):
    """A cluster that consists of the output of kubectl only."""

    result: Callable[[tuple[str, ...]], str] = lambda args: ""
    calls: list[tuple[str, ...]] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)

    def kubectl(self, *args: str, text: str | None = None) -> str:
        self.calls.append(args)
        self.texts.append(text)
        return self.result(args)

    def helm(self, *args: str) -> str:
        self.calls.append(("helm", *args))
        return ""


IMAGES = images_from(
    {"OPERATOR_IMAGE": "r.example:5000/edge/operator:1.2", "RUNTIME_IMAGE": "r.example/runtime:1.2"}
)


def cluster(result: Callable[[tuple[str, ...]], str] = lambda args: "") -> Recorded:
    return Recorded(IMAGES, TritonAddress("triton.inference:8000", "onnxruntime"), result=result)


def test_an_image_with_a_port_in_its_registry_is_split_at_the_tag() -> None:
    values = installation.chart_values(cluster())
    assert values["operator"]["image"] == {"repository": "r.example:5000/edge/operator", "tag": "1.2"}


def test_every_value_that_the_demo_sets_is_one_that_the_chart_has() -> None:
    schema = json.loads((ROOT / installation.CHART / "values.schema.json").read_text())

    def unknown(values: dict[str, Any], allowed: dict[str, Any]) -> list[str]:
        properties = allowed.get("properties", {})
        found = [name for name in values if name not in properties and properties]
        inner = [(values[name], properties[name]) for name in values if name in properties]
        return found + [name for v, p in inner if isinstance(v, dict) for name in unknown(v, p)]

    assert unknown(installation.chart_values(cluster()), schema) == []
    assert {"operator", "runtime", "store"} <= schema["properties"].keys()


def test_the_example_is_applied_as_it_is_where_its_triton_is_right() -> None:
    on_testbed = cluster()
    on_testbed.triton = None
    installation.apply(on_testbed, ROOT)
    assert on_testbed.calls == [("apply", "-f", str(ROOT / "examples/01-digits"))]


def test_the_example_names_the_users_triton_on_a_cluster_of_theirs() -> None:
    own = cluster()
    installation.apply(own, ROOT)
    assert own.calls == [("apply", "-f", "-")]
    pool, service = installation.example(ROOT, own.triton)
    server = pool["spec"]["tritonServers"][0]
    assert (server["httpAddress"], server["backend"]) == ("triton.inference:8000", "onnxruntime")
    assert service["kind"] == "InferenceService"
    assert "triton.inference:8000" in (own.texts[0] or "")


class Received(BaseHTTPRequestHandler):
    """A model store that accepts one token. requests: path, token and body of each."""

    requests: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        shown = self.headers["Authorization"]
        self.requests.append((self.path, shown, body))
        accepted = shown == "Bearer of-shop"
        self.send_response(200 if accepted else 401)
        self.end_headers()
        self.wfile.write(b'{"digest": "sha256:00", "size": 3}' if accepted else b"not valid")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[int]:
    """The store's port."""
    Received.requests.clear()
    server = HTTPServer(("127.0.0.1", 0), Received)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_an_upload_shows_a_token_of_the_services_namespace_and_returns_the_digest(
    store: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {"shop": "of-shop\n", "default": "of-default\n"}
    there = cluster(lambda args: tokens.get(args[4], ""))
    monkeypatch.setattr(there, "reach", lambda namespace, service: Entrance((), "127.0.0.1", store))
    file = tmp_path / "digits.onnx"
    file.write_bytes(b"123")
    assert installation.upload(there, file, "a/b.onnx", "shop") == "sha256:00"
    assert there.calls[0][:6] == ("create", "token", "default", "-n", "shop", "--audience")
    assert Received.requests == [("/v1/files/a/b.onnx", "Bearer of-shop", b"123")]
    with pytest.raises(StepFailed, match="401 not valid"):
        installation.upload(there, file)


def test_a_store_that_is_not_reachable_yet_is_tried_again(
    store: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connects, refused = socket.create_connection, [ConnectionRefusedError(), ConnectionRefusedError()]

    def refuses_first(address: tuple[str, int], timeout: float) -> socket.socket:
        if refused:
            raise refused.pop()
        return connects(address, timeout)

    monkeypatch.setattr(socket, "create_connection", refuses_first)
    monkeypatch.setattr("demo.uploading.RETRY", 0.0)
    uploading.reach("127.0.0.1", store).close()
    assert not refused
    monkeypatch.setattr("demo.uploading.REACHED", 0.0)
    refused.append(ConnectionRefusedError())
    with pytest.raises(ConnectionRefusedError):
        uploading.reach("127.0.0.1", store)


def test_a_mode_is_reached_when_every_placement_has_loaded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = [placement("edge-a", "Auto"), placement("edge-b", "LocalOnly", observed=1)]
    results = [behind, [placement("edge-a", "LocalOnly"), placement("edge-b", "LocalOnly")]]

    def result(args: tuple[str, ...]) -> str:
        return json.dumps({"items": results.pop(0)}) if args[:2] == ("get", "placements") else ""

    monkeypatch.setattr("demo.installation.time.sleep", lambda seconds: None)
    asked = cluster(result)
    installation.set_mode(asked, "LocalOnly")
    assert asked.calls[0][-1] == '{"spec": {"mode": "LocalOnly"}}'
    assert results == []


def test_a_mode_that_is_not_reached_in_time_shows_which_node_and_the_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def result(args: tuple[str, ...]) -> str:
        match args[:2]:
            case ("get", "placements"):
                return json.dumps({"items": [placement("edge-b", "Auto", loaded=False)]})
            case ("get", "pods"):
                return "default edge-runtime-edge-b 0/1 ImagePullBackOff"
        return json.dumps({"metadata": {"generation": 1}, "status": {}})

    monkeypatch.setattr(installation, "MODE_SECONDS", 0.0)
    with pytest.raises(NotInTime, match=mentions("edge-runtime-edge-b", "slice abc", "ImagePullBackOff")):
        installation.set_mode_reached(cluster(result), "Auto")


def test_placements_that_are_behind_are_named_with_the_reason() -> None:
    found = [placement("a", "Auto"), placement("b", "CloudOnly"), placement("c", "Auto", generation=3)]
    other_mode, old = not_carried_out(found, "Auto")
    assert mentions("digits.b", "CloudOnly").search(other_mode)
    assert mentions("digits.c", 2, 3).search(old)
    switching = [placement("a", "LocalOnly", active="exit5@image")]
    (behind,) = not_carried_out(switching, "LocalOnly")
    assert "digits.a" in behind
    assert "exit5@image" in behind
    (missing,) = not_carried_out([], "Auto")
    assert "placements" in missing


def test_a_service_is_ready_only_in_the_generation_that_is_there_and_once_it_is_carried_out() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Serving"},
        {"type": "Progressing", "status": "False", "reason": "UpToDate"},
        {"type": "Degraded", "status": "False", "reason": "Serving"},
    ]
    status = {"observedGeneration": 4, "conditions": conditions}
    assert ready({"metadata": {"generation": 4}, "status": status})
    assert not ready({"metadata": {"generation": 5}, "status": status})
    assert not ready({"metadata": {"generation": 1}})
    assert condition_lines({"status": status})[0] == "Ready=True Serving"
    for wrong in ({"type": "Progressing", "status": "True"}, {"type": "Degraded", "status": "True"}):
        changed = [wrong if c["type"] == wrong["type"] else c for c in conditions]
        assert not ready({"metadata": {"generation": 4}, "status": status | {"conditions": changed}})


def test_durations_are_read_in_seconds() -> None:
    assert [seconds(text) for text in ("150ms", "1.5s", "300us", "300µs", "2m", "1m30s")] == [
        0.15,
        1.5,
        pytest.approx(3e-4),
        pytest.approx(3e-4),
        120.0,
        90.0,
    ]
    with pytest.raises(ValueError, match=mentions("'150'", "duration")):
        seconds("150")


def test_a_route_table_is_one_line() -> None:
    table = placement("edge-a", "Auto")
    table["spec"]["routes"] = [
        {"name": "exit5@pool1", "minBandwidth": "3100000", "predictedLatency": "87ms"},
        {"name": "exit4@local", "minBandwidth": "0", "predictedLatency": "60ms"},
    ]
    assert routes_line(table) == "edge-a: exit5@pool1 from 3.10 Mbit/s (87ms), exit4@local (60ms)"


@contextmanager
def no_step(name: str) -> Any:
    yield


def test_the_error_for_a_cluster_without_labeled_nodes_names_the_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("demo.existing_cluster.shutil.which", lambda program: f"/usr/bin/{program}")
    with pytest.raises(Exception, match="kubectl label node NAME"):
        cluster().start(no_step, lambda line: None)


def test_images_that_are_not_named_are_requested() -> None:
    with pytest.raises(Exception, match=mentions("RUNTIME_IMAGE")):
        images_from({"OPERATOR_IMAGE": "r.example/operator:1"})
