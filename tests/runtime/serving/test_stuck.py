"""The runtime of a placement during an inference that never finishes: its reports and its shutdown."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import endless
from edge_runtime.autonomy import LastContact
from edge_runtime.connections import Resolver
from edge_runtime.inference.runners import Runner
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.placed_services import PlacedService
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.slicing import Graph, digest_of
from edge_runtime.status import status_document
from stages import ask
from waiting import until


def local(folder: Path, model: bytes, input_: str, output: str) -> None:
    """A placement that runs the whole model at this node, and a cache with its slice."""
    digest = digest_of(model)
    (folder / "cache" / "slices").mkdir(parents=True)
    (folder / "cache" / "slices" / digest.removeprefix("sha256:")).write_bytes(model)
    ends = [[t.document() for t in tensors] for tensors in Graph(model).contract([input_], [output])]
    slice_ = {"digest": digest, "inputs": ends[0], "outputs": ends[1]}
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 0.9,
        "minBandwidth": "0",
        "predictedLatency": "10ms",
        "stages": [{"place": "edge-a", "runtime": "Edge", "slice": slice_}],
    }
    spec = {
        "service": "digits",
        "node": "edge-a",
        "mode": "LocalOnly",
        "model": {"digest": digest, "inputs": ends[0], "outputs": ends[1]},
        "slo": {"latency": "100ms", "percentile": 95},
        "routes": [route],
    }
    metadata = {"name": "digits-edge-a", "namespace": "default", "generation": 1}
    (folder / "placement.json").write_text(json.dumps({"metadata": metadata, "spec": spec}))


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`edge-runtime run` as a process, and the folder of its sockets."""
    named = {"service": "digits", "namespace": "default", "node": "edge-a", "store": "http://127.0.0.1:9"}
    named |= {"cache-dir": str(folder / "cache"), "placement-file": str(folder / "placement.json")}
    named |= {"host": "127.0.0.1", "http-port": "0", "grpc-port": "0", "uds": str(folder / "uds")}
    argv = [
        sys.executable,
        "-m",
        "edge_runtime.cli",
        "run",
        *(f"--{k}={v}" for k, v in named.items()),
        *flags,
    ]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, folder / "uds"
        finally:
            process.kill()


def status_of(sockets: Path, path: str) -> int:
    with suppress(OSError):
        return ask(sockets, "GET", path)[0]
    return 0


def test_the_slo_ends_no_run_but_the_server_is_not_ready_and_stops_on_sigterm(tmp_path: Path) -> None:
    local(tmp_path, endless.looping_behind_a_cut(), "image", "logits")
    with running(tmp_path, "--grace=500ms", "--stuck-after=500ms") as (process, sockets):
        until(lambda: status_of(sockets, "/v2/health/ready") == 200, "it is ready")
        given = {"name": "image", "datatype": "FP32"}
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(60)
            caller.connect(str(sockets / "http.sock"))
            caller.sendall(endless.request(endless.FOREVER, "digits", **given))
            until(lambda: status_of(sockets, "/v2/health/ready") == 503, "it is not ready")
            assert status_of(sockets, "/v2/health/live") == 200
            process.terminate()
            assert caller.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
        assert process.wait(60) == 0


def test_a_slice_that_does_not_get_warm_does_not_keep_the_runtime_from_ending(tmp_path: Path) -> None:
    local(tmp_path, endless.endless_on_zeros(), "x", "y")
    with running(tmp_path, "--grace=500ms") as (process, sockets):
        until(lambda: status_of(sockets, "/v2/health/live") == 200, "it serves")
        process.terminate()
        assert process.wait(60) == 0


async def test_the_status_says_that_it_is_stuck_and_does_not_change_with_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [10.0]
    monkeypatch.setattr(Runner, "running", property(lambda _: seconds[0]))
    resolver = Resolver()
    store = ModelStore("http://127.0.0.1:9", resolver)
    loader = SliceLoader(SliceCache(tmp_path / "slices", store), None)
    resources = NodeResources(loader, resolver, stuck_after=20.0)
    runtime = PlacedService("digits", tmp_path, store, resources, LastContact(tmp_path / "last-word"))
    said: list[Any] = []
    for now in (10.0, 30.0, 40.0):
        seconds[0] = now
        said.append(status_document(runtime.report())["message"])
    assert said[0] == ""
    assert re.search(r"more than 20 s", said[1])
    assert said[2] == said[1]
    runtime.close()
    await resources.close()
    store.close()
