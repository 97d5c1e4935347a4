"""Clients that offer HTTP/2 get the same responses as others."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from onnx import helper

from edge_runtime.store.app import StoreApp
from edge_runtime.store.serving import store_server
from networks import info, model_of
from stages import alone
from testbed.client_programs import PACKAGES

DOCUMENT = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.0]}]}
BODY = json.dumps(DOCUMENT)
DIGEST = f"sha256:{hashlib.sha256(BODY.encode()).hexdigest()}"


@dataclass(frozen=True)
class Servers:
    infer: str
    runtime: str
    health: str
    store: str
    store_health: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("callers")
    (folder / "model.onnx").write_bytes(
        model_of([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", "N", 2)], [info("y", "N", 2)])
    )
    store = store_server(StoreApp(folder / "store", 1 << 20), "127.0.0.1", 0, health_port=0)
    thread = threading.Thread(target=store.run)
    thread.start()
    try:
        with alone(folder / "model.onnx", health_port=0) as (port, _, said):
            health = said.split("health on ")[1].split(" ")[0]
            kept, plain = (f"http://127.0.0.1:{number}" for number in store.ports)
            runtime = f"http://127.0.0.1:{port}"
            yield Servers(f"{runtime}/v2/models/m/infer", runtime, f"http://{health}", kept, plain)
    finally:
        store.should_exit = True
        thread.join(30)


def _run(program: str, *arguments: str) -> list[str]:
    found = shutil.which(program)
    needed = PACKAGES["javac" if program == "java" else program]
    assert found, f"{program} is not installed: apt-get install {needed}"
    ended = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_jdk_s_client_as_it_is(servers: Servers) -> None:
    asks = [
        ("GET", f"{servers.runtime}/v2/health/ready", "none", ""),
        ("POST", servers.infer, "sized", BODY),
        ("POST", servers.infer, "chunked", BODY),
        ("GET", f"{servers.health}/v2/health/ready", "none", ""),
        ("PUT", f"{servers.store}/v1/files/a", "sized", BODY),
        ("PUT", f"{servers.store}/v1/files/a", "chunked", BODY),
        ("GET", f"{servers.store}/v1/files/a", "none", ""),
        ("GET", f"{servers.store_health}/v1/health/ready", "none", ""),
    ]
    lines = _run("java", str(Path(__file__).parent / "Ask.java"), *(word for ask in asks for word in ask))
    assert [line.split(" ")[:2] for line in lines] == [["200", "HTTP_1_1"]] * len(asks)
    answers = [json.loads(line.split(" ", 2)[2]) for line in lines]
    assert [respond["outputs"][0]["data"] for respond in answers[1:3]] == [[3.0, 4.0]] * 2
    assert answers[4] == answers[5] == {"digest": DIGEST, "size": len(BODY)}
    assert answers[6] == DOCUMENT


@pytest.mark.parametrize(
    "more",
    [
        ["-H", "Content-Type: application/json"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked"],
        ["-H", "Upgrade: websocket", "-H", "Connection: Upgrade"],
    ],
    ids=["content-length", "chunked", "expect", "expect and chunked", "websocket"],
)
def test_curl_with_http2(servers: Servers, more: list[str]) -> None:
    offer = [
        "--silent",
        "--max-time",
        "20",
        "--http2",
        *more,
        "--write-out",
        " %{http_code} %{http_version}\n",
    ]
    [line] = _run("curl", *offer, servers.infer, "--data", BODY)
    respond, status, version = line.rsplit(" ", 2)
    assert (json.loads(respond)["outputs"][0]["data"], status, version) == ([3.0, 4.0], "200", "1.1")
    target = f"{servers.store}/v1/files/{len(more)}"
    [line] = _run("curl", *offer, "--request", "PUT", target, "--data", BODY)
    assert json.loads(line.rsplit(" ", 2)[0]) == {"digest": DIGEST, "size": len(BODY)}
    health = f"{servers.health}/v2/health/ready"
    assert _run("curl", *offer, health) == ['{"ready":true} 200 1.1']
