"""The commands as a node runs them: certificates and collector by flags and variables."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mounts import Mount, Signer
from stages import ask, split

Collected = Any


@contextmanager
def _command(folder: Path, name: str, *arguments: str, **variables: str) -> Iterator[Path]:
    """Runs a command until SIGTERM; yields the file of its output."""
    said = folder / f"{name}.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "EDGE_"))} | variables
    with said.open("w") as file:
        argv = [sys.executable, "-m", "edge_runtime.cli", *arguments]
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        yield said
        assert process.poll() is None, said.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, said.read_text()


def _until(what: str, said: Path, found: Any) -> Any:
    pause = threading.Event()
    for _ in range(1500):
        with suppress(OSError):
            if result := found():
                return result
        pause.wait(0.02)
    raise AssertionError(f"{what}: {said.read_text()}")


def test_two_nodes_with_certificates_and_a_collector(
    tmp_path: Path, chain_model: bytes, collector: Collected
) -> None:
    signer = Signer(tmp_path / "authority")
    near, far = (Mount(tmp_path / name, signer.pair()).path for name in ("near", "far"))
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    tail, placement = split(chain_model, "pool1", tmp_path, "")
    serving = ["serve", str(tail), "--http-port=0", "--grpc-port=0", f"--tls-dir={far}"]
    with _command(tmp_path, "far", *serving, **traced) as said:
        port = _until("no port", said, lambda: re.findall(r"HTTP on 127\.0\.0\.1:(\d+)", said.read_text()))[0]
        placement["spec"]["routes"][0]["stages"][1]["address"] = f"https://localhost:{port}"
        (tmp_path / "placement.json").write_text(json.dumps(placement))
        sockets = tmp_path / "uds"
        running = ["run", "--host=127.0.0.1", "--http-port=0", "--grpc-port=0", f"--uds={sockets}"]
        running.append(f"--placement-file={tmp_path / 'placement.json'}")
        named = {
            "EDGE_SERVICE": "digits",
            "EDGE_NAMESPACE": "default",
            "EDGE_NODE": "edge-a",
            "EDGE_STORE": "http://127.0.0.1:9",
            "EDGE_CACHE_DIR": str(tmp_path / "cache"),
            "EDGE_TLS_DIR": str(near),
            "OTEL_SERVICE_NAME": "entry",
        }
        with _command(tmp_path, "near", *running, **traced, **named) as near_said:
            _until("not ready", near_said, lambda: ask(sockets, "GET", "/v2/health/ready")[0] == 200)
            image = np.zeros((1, 1, 16, 16), np.float32)
            given = {"name": "image", "shape": list(image.shape), "datatype": "FP32"}
            asked = {"inputs": [given | {"data": image.ravel().tolist()}]}
            status, answer = ask(sockets, "POST", "/v2/models/digits/infer", asked)
            assert (status, answer["parameters"]["route"]) == (200, "final@pool1")
    assert len({span["trace"] for span in collector.spans}) == 1  # sent at the end at the latest
    assert sorted(f"{span['service']} {span['name']}" for span in collector.spans) == [
        "entry POST",
        "entry POST /v2/models/{model}/infer",
        "entry stage",
        "tail POST /v2/models/{model}/infer",
    ]
    assert collector.named("entry POST")["attributes"]["url.full"].startswith("https://localhost:")
